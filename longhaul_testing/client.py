"""A test's own view of a running system: submit, wait, look."""

import time
from typing import Any, Final

import httpx

from longhaul_testing.errors import NotFinalError
from longhaul_testing.simulated_model import Simulator
from longhaul_testing.system import System
from longhaul_testing.task import Task

FINAL: Final = frozenset({"success", "failed", "cancelled"})
_LONGEST_WAIT: Final = 20.0  # seconds that one `?wait=` may take


class Longhaul:
    """One test's handle. At the test's end what it submitted and did not wait for is cancelled."""

    def __init__(self, system: System, simulator: Simulator) -> None:
        self.system = system
        self.simulator = simulator
        self.url = system.url
        self.http = httpx.Client(base_url=system.url, trust_env=False, timeout=60)
        """For calls that have no method here; set its `authorization` header when the settings have API_KEYS."""
        self._open: list[str] = []

    def submit(self, message: str | None = None, **fields: Any) -> str:
        """The id of a new task. `fields` are the other fields of `POST /task`, such as `agent` and `metadata`.

        AssertionError with the gateway's own words when it refuses.
        """
        body = fields if message is None else {"message": message, **fields}
        answer = self.http.post("/task", json=body)
        if answer.is_error:
            raise AssertionError(f"POST /task answers {answer.status_code}: {answer.text}")
        task_id: str = answer.json()["task_id"]
        self._open.append(task_id)
        return task_id

    def look(self, task_id: str) -> dict[str, Any]:
        """The task as it stands."""
        found: dict[str, Any] = self.http.get(f"/task/{task_id}").raise_for_status().json()
        return found

    def wait(self, task_id: str, within_s: float = 30) -> Task:
        """The task once it has ended. NotFinalError when it has not within the time.

        A gateway or Redis that is away meanwhile is asked again: a test may kill them.
        """
        until = time.monotonic() + within_s
        seen = "the gateway gave no answer"
        while (left := until - time.monotonic()) > 0:
            try:
                answer = self.http.get(f"/task/{task_id}", params={"wait": min(left, _LONGEST_WAIT)})
            except httpx.TransportError:
                time.sleep(0.05)
                continue
            seen = answer.text
            if answer.is_success and answer.json()["status"] in FINAL:
                if task_id in self._open:
                    self._open.remove(task_id)
                return Task.of(answer.json())
            if answer.is_client_error:
                raise AssertionError(f"GET /task/{task_id} answers {answer.status_code}: {answer.text}")
            time.sleep(0.05)
        raise NotFinalError(f"task {task_id} has not ended within {within_s:g} s: {seen}\n{self.system.logs()}")

    def run(self, message: str | None = None, *, within_s: float = 30, **fields: Any) -> Task:
        """Submits and waits."""
        return self.wait(self.submit(message, **fields), within_s)

    def close(self) -> None:
        for task_id in self._open:
            self.http.post(f"/task/{task_id}/cancel")
        self.http.close()
