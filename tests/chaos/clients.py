"""The clients: they submit with idempotency keys, poll, cancel, submit twice, and journal all that they are told."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import count
from typing import Final

import httpx
import orjson

from tests.chaos import marker
from tests.chaos.http_clients import HttpClients
from tests.chaos.journals import ClientLog, Errand, Told
from tests.chaos.system import System

_LOOK_AGAIN_S: Final = 0.2
_WAIT_S: Final = 10
_TIMEOUT_S: Final = 15.0
_AT_ONCE: Final = 40
_LATE_DEADLINE_S: Final = 8.0
_DEADLINE_S: Final = 900.0
"""Of some good tasks, which none of them should come near: one that waits in quarantine waits for a while."""
ERRANDS: Final = {Errand.TWICE: 0.05, Errand.CANCEL: 0.04, Errand.LATE: 0.01}
"""Their shares; the other tasks are plain."""
OWN_ERRANDS: Final = {Errand.TWICE: 0.05, Errand.CANCEL: 0.04}
"""For an agent that may not pass on what its message says to the model."""
_WITH_DEADLINE: Final = 0.2
_CANCEL_WITHIN_S: Final = 2.0


class Clients:
    """`at_once` clients, each with one task at a time, until all `tasks` are done."""

    def __init__(
        self,
        system: System,
        urls: Sequence[str],
        log: ClientLog,
        fields: Mapping[str, object],
        *,
        words: str,
        seed: int,
        tasks: int,
        at_once: int,
        errands: Mapping[Errand, float],
    ) -> None:
        """`fields` are more of POST /task; `words` what each message says."""
        self.told: dict[str, Told] = {}
        self._system, self._log = system, log
        self._fields, self._words, self._seed, self._errands = fields, words, seed, errands
        self._dice = random.Random(f"clients {seed}")
        self._waiting: deque[Told] = deque(self._plan(tasks))
        self._poisons = count(1)
        self._clients: set[asyncio.Task[None]] = set()
        self._at_once = at_once
        self._turn = count()
        self._http = [HttpClients(url, timeout_s=_TIMEOUT_S) for url in urls]

    @property
    def left(self) -> int:
        """Tasks that nobody has submitted yet."""
        return len(self._waiting)

    @property
    def open(self) -> int:
        """Tasks that a client is busy with."""
        return len(self._clients)

    @property
    def done(self) -> int:
        return sum(told.final is not None for told in self.told.values())

    async def run(self) -> None:
        """Returns when every task is final; cancel it when that takes too long."""
        try:
            while self._waiting or self._clients:
                while self._waiting and len(self._clients) < self._at_once:
                    self._begin(self._waiting.popleft())
                    await asyncio.sleep(0)
                done, _ = await asyncio.wait(self._clients, return_when=asyncio.FIRST_COMPLETED)
                for client in done:
                    client.result()
        finally:
            for client in self._clients:
                client.cancel()
            await asyncio.gather(*self._clients, return_exceptions=True)

    async def poison(self) -> None:
        """Submits one now, whoever waits."""
        self._begin(Told(f"s{self._seed}poison{next(self._poisons)}", Errand.POISON))

    async def look_again(self) -> None:
        """Reads every acknowledged task once more, final or not."""
        room = asyncio.Semaphore(_AT_ONCE)

        async def look(told: Told) -> None:
            async with room:
                known = told.final is not None
                body = await self._record(told, wait=False, tries=50)
                if known:
                    told.again.append(body)
                elif body is not None and self._system.read(body).is_final:
                    self._final(told, body)

        await asyncio.gather(*(look(told) for told in self.told.values() if told.is_acknowledged))

    async def close(self) -> None:
        for clients in self._http:
            await clients.close()

    # -- one task

    def _plan(self, tasks: int) -> list[Told]:
        plan = []
        for number in range(1, tasks + 1):
            errand, dice = Errand.PLAIN, self._dice.random()
            for other, share in self._errands.items():
                if 0 <= dice < share:
                    errand = other
                dice -= share
            deadline = _DEADLINE_S if self._dice.random() < _WITH_DEADLINE else None
            if errand is Errand.LATE:
                deadline = _LATE_DEADLINE_S
            # no dash in the key: the simulator would take it for arithmetic
            plan.append(Told(f"s{self._seed}n{number:05}", errand, deadline))
        return plan

    def _begin(self, told: Told) -> None:
        self.told[told.key] = told
        task = asyncio.get_running_loop().create_task(self._see_to(told))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _see_to(self, told: Told) -> None:
        submits = [self._submit(told) for _ in range(2 if told.errand is Errand.TWICE else 1)]
        await asyncio.gather(*submits)
        if not told.is_acknowledged:
            return
        if told.errand is Errand.CANCEL:
            await asyncio.sleep(self._dice.uniform(0, _CANCEL_WITHIN_S))
            await self._cancel(told)
        while told.final is None:
            body = await self._record(told, wait=True)
            if body is None:
                told.missing += 1
                await asyncio.sleep(_LOOK_AGAIN_S)
            elif self._system.read(body).is_final:
                self._final(told, body)
            else:
                await asyncio.sleep(_LOOK_AGAIN_S)

    async def _submit(self, told: Told) -> None:
        body: dict[str, object] = {
            "message": self._message(told),
            "metadata": {"chaos": told.key},
            **self._fields,
        }
        if told.deadline_s is not None:
            body["deadline_s"] = told.deadline_s
        headers = {"Idempotency-Key": told.key, "content-type": "application/json"}
        while True:
            answer = await self._call("POST", "/task", content=orjson.dumps(body), headers=headers)
            if answer is None or answer.status_code == 429 or answer.status_code >= 500:
                await asyncio.sleep(_LOOK_AGAIN_S)
                continue
            now = time.time()
            if answer.is_error:
                told.refused = f"{answer.status_code} {answer.text[:200]}"
                self._log.say(now, "refused", told, told.refused)
                return
            told.acknowledged_at = told.acknowledged_at or now
            told.ids.append(str(answer.json()["task_id"]))
            self._log.say(now, "acknowledged", told)
            return

    async def _cancel(self, told: Told) -> None:
        while told.final is None:
            answer = await self._call("POST", f"/task/{told.ids[0]}/cancel")
            if answer is not None and answer.status_code < 500:
                if answer.is_success:
                    told.cancel_at = time.time()
                self._log.say(time.time(), "cancel", told, str(answer.status_code))
                return
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def _record(self, told: Told, *, wait: bool, tries: int | None = None) -> bytes | None:
        """The body of a 200, or None for a 404; anything else is asked again, `tries` times or for ever."""
        path = f"/task/{told.ids[0]}" + (f"?wait={_WAIT_S}" if wait else "")
        for _ in range(tries) if tries else count():
            answer = await self._call("GET", path)
            if answer is not None and answer.status_code == 200:
                return answer.content
            if answer is not None and answer.status_code == 404:
                self._log.say(time.time(), "missing", told)
                return None
            await asyncio.sleep(_LOOK_AGAIN_S)
        return None

    def _final(self, told: Told, body: bytes) -> None:
        told.final, told.final_at = body, time.time()
        self._log.say(told.final_at, "final", told, body.decode(errors="replace"))

    async def _call(self, method: str, path: str, **more: object) -> httpx.Response | None:
        """One try, at the next gateway; None when there was no answer."""
        with suppress(httpx.TransportError), self._http[next(self._turn) % len(self._http)].one() as client:
            return await client.request(method, path, **more)  # type: ignore[arg-type]  # content and headers
        return None

    def _message(self, told: Told) -> str:
        match told.errand:
            case Errand.POISON:
                return marker.message(told.key, marker.POISON)
            case Errand.LATE:
                return marker.message(told.key, f"{self._words} {marker.LATE}")
            case _:
                return marker.message(told.key, self._words)
