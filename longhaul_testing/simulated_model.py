"""The simulated model in tests: write what it answers next, read what it was asked."""

import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import httpx

from core_config import ROOT
from longhaul_testing.errors import NotStartedError
from longhaul_testing.process import command


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One call that the simulator got."""

    messages: list[dict[str, Any]]
    """All that were sent, as OpenAI writes them: the system prompt first, tools' results with the role `tool`."""
    tools: list[str]
    """Names of the tools that the model was offered."""
    called: list[str]
    """Names of the tools that the answer asked for."""
    status: int | None
    """HTTP status of the answer; None while there is none."""
    outcome: str
    """`answered`, `failed`, `running` and others: docs/simulator.md."""

    @property
    def system_prompt(self) -> str:
        return "\n".join(str(message["content"]) for message in self.messages if message["role"] == "system")


class Simulator:
    """A running simulator. Without a script it answers by its own rules: docs/simulator.md."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._http = httpx.Client(base_url=self.url, trust_env=False, timeout=10)

    def will_answer(self, text: str, *, match: str = "") -> Self:
        """The next model call is answered with just this text.

        Answers are given in the order in which they were asked for. With `match` one waits for a call whose last user
        message holds it; the other will_ methods likewise.
        """
        return self._script({"text": text}, match)

    def will_call(self, tool: str, arguments: Mapping[str, Any] | None = None, *, match: str = "") -> Self:
        """The next model call is answered by asking for this tool."""
        return self._script({"calls": [{"name": tool, "arguments": dict(arguments or {})}]}, match)

    def will_do(self, directives: str, *, match: str = "") -> Self:
        """The next model call meets this, such as `status=429 retry_after=1`, `hang` or `error=deepseek_no_balance`."""
        return self._script({"do": directives}, match)

    @property
    def calls(self) -> list[ModelCall]:
        """Every model call since the test began, in order."""
        journal = self._asked("GET", "/journal").json()
        return [
            ModelCall(call["asked"] or [], call["tools"], call["called"], call["status"], call["outcome"])
            for call in journal["calls"]
        ]

    def wait_for_calls(self, count: int = 1, within_s: float = 30) -> list[ModelCall]:
        """The calls, as soon as there are so many, answered or not. AssertionError when there are not in time."""
        until = time.monotonic() + within_s
        while len(calls := self.calls) < count:
            if time.monotonic() > until:
                raise AssertionError(f"{len(calls)} model calls within {within_s:g} s, not {count}")
            time.sleep(0.02)
        return calls

    @property
    def unused(self) -> int:
        """Answers of the script that nobody has asked for."""
        left: int = self._asked("GET", "/script").json()["left"]
        return left

    def reset(self) -> None:
        """Forgets the script, the rules and the calls that have ended."""
        for path in ("/script", "/control", "/journal"):
            self._asked("DELETE", path)

    def close(self) -> None:
        self._http.close()

    def _script(self, answer: dict[str, Any], match: str) -> Self:
        self._asked("POST", "/script", {"answers": [{**answer, "match": match}]})
        return self

    def _asked(self, method: str, path: str, body: object = None) -> httpx.Response:
        answer = self._http.request(method, path, json=body)
        if answer.is_error:
            raise ValueError(answer.json()["error"]["message"])
        return answer


@contextmanager
def running_simulator() -> Iterator[Simulator]:
    """Starts one on a free port, and ends it. Raises NotStartedError."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command("loadtest.simulator", "--port", "0", "--keep-messages"),
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
        )  # fmt: skip
        try:
            assert process.stdout is not None  # noqa: S101 it is a pipe
            line = process.stdout.readline().decode()
            if "http://" not in line:
                process.wait()
                errors.seek(0)
                raise NotStartedError(f"the simulator did not start: {line}{errors.read().decode()}")
            simulator = Simulator(int(line.partition("127.0.0.1:")[2].partition("/")[0]))
            yield simulator
            simulator.close()
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
