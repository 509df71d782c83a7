"""The simulator as the kit uses it: which tasks are in a model call now, what it did, and how it shall fail."""

from datetime import datetime
from typing import Any, Final

import httpx

from tests.chaos import marker
from tests.chaos.journals import Call

_LOOK_BACK: Final = 400
"""Calls among which those that still run are looked for."""


class ModelServer:
    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, trust_env=False, timeout=30)

    async def close(self) -> None:
        await self._http.aclose()

    async def in_calls(self, at_least: int) -> int:
        """How many tasks are in a model call now, if as many as `at_least`; of calls that name no task, how many."""
        counters = (await self._http.get("/journal", params={"limit": 0})).json()["counters"]
        if counters["running"] < at_least:  # which spares the simulator the look at each
            return int(counters["running"])
        journal = (await self._http.get("/journal", params={"limit": _LOOK_BACK})).json()
        running = [call for call in journal["calls"] if call["outcome"] == "running"]
        marks = [marker.read(call["message"]) for call in running]
        return len({mark[0] for mark in marks if mark}) + sum(mark is None for mark in marks)

    async def fail(self, directives: str, times: int) -> None:
        """The next so many calls meet this, whoever makes them."""
        rule = {"match": "", "do": directives, "times": times}
        (await self._http.put("/control", json={"rules": [rule]})).raise_for_status()

    async def behave(self) -> None:
        (await self._http.put("/control", json={"rules": []})).raise_for_status()

    async def calls(self) -> tuple[list[Call], int]:
        """Every call that names a task, in the order in which they began, and how many others there were."""
        found: list[Call] = []
        others = 0
        last = 0
        rows: list[dict[str, Any]] = (await self._http.get("/journal", params={"limit": 10_000_000})).json()["calls"]
        for row in rows:
            assert row["seq"] > last
            last = row["seq"]
            mark = marker.read(row["message"])
            if mark is None:
                others += 1
                continue
            key, step = mark
            began = datetime.fromisoformat(row["at"]).timestamp()
            found.append(Call(key, row["step"] if step is None else step, began, row["outcome"], row["fault"]))
        return found, others
