"""The faults, one function each. A fault strikes at once; what it does for a time is healed by a task of its own."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.chaos.model_server import ModelServer
from tests.chaos.processes import REDIS, Deployment, Slot
from tests.chaos.proxy import Proxy
from tests.chaos.schedule import Fault, Kind

_STOP_REDIS_S: Final = (0.5, 2.5)
_BEYOND_LEASE_S: Final = (0.5, 3.0)
_HALF_OPEN_S: Final = (1.0, 6.0)
_SLOW_S: Final = (0.05, 0.4)
_SLOW_LASTS_S: Final = 3.0
_CALLS: Final = (2, 8)
_LOOK_S: Final = 0.1
_ANSWER_S: Final = 1.0


class Struck:
    """What a fault hit. `until` grows when it is healed."""

    def __init__(self) -> None:
        self.at = self.until = time.time()
        self.victims: list[str] = []
        self.pids: list[int] = []

    def hit(self, slot: Slot, pid: int | None) -> None:
        if pid is not None:
            self.victims.append(slot.process)
            self.pids.append(pid)


class Faults:
    def __init__(self, deployment: Deployment, models: ModelServer, poison: Callable[[], Awaitable[None]]) -> None:
        """`poison` submits a task that ends whoever runs it."""
        self._deployment, self._models, self._poison = deployment, models, poison
        self._healing: set[asyncio.Task[None]] = set()
        self._strikes: dict[Kind, Callable[[Fault, Struck], Awaitable[None]]] = {
            Kind.KILL_WORKER: self._kill_worker,
            Kind.KILL_GATEWAY: self._kill_gateway,
            Kind.KILL_REDIS: self._kill_redis,
            Kind.TERM_WORKER: self._term_worker,
            Kind.STOP_WORKER: self._stop_worker,
            Kind.STOP_REDIS: self._stop_redis,
            Kind.CUT: self._cut,
            Kind.SLOW: self._slow,
            Kind.HALF_OPEN: self._half_open,
            Kind.LOST_REPLIES: self._lost_replies,
            Kind.PROVIDER_ERROR: self._provider_error,
            Kind.PROVIDER_HANG: self._provider_hang,
            Kind.PROVIDER_DRIP: self._provider_drip,
            Kind.PROVIDER_BROKEN: self._provider_broken,
            Kind.POISON: self._poison_task,
        }

    async def strike(self, fault: Fault) -> Struck:
        struck = Struck()
        await self._strikes[fault.kind](fault, struck)
        return struck

    async def healed(self) -> None:
        """Returns when nothing is stopped, slow or half open any more and the model behaves."""
        if self._healing:
            await asyncio.gather(*self._healing)
        await self._models.behave()

    # -- processes

    async def _kill_worker(self, fault: Fault, struck: Struck) -> None:
        self._end(self._one(fault, "worker"), signal.SIGKILL, struck)

    async def _kill_gateway(self, fault: Fault, struck: Struck) -> None:
        self._end(self._one(fault, "gateway"), signal.SIGKILL, struck)

    async def _kill_redis(self, fault: Fault, struck: Struck) -> None:
        self._end(self._one(fault, REDIS), signal.SIGKILL, struck)

        async def back() -> None:
            async with Redis.from_url(self._deployment.redis_url, socket_timeout=_ANSWER_S) as redis:
                while True:
                    await asyncio.sleep(_LOOK_S)
                    with suppress(RedisError, OSError):  # also while it loads
                        await cast("Awaitable[object]", redis.ping())
                        break
            struck.until = time.time()  # whoever waited for it goes on only now, perhaps without its lease

        self._later(back())

    async def _term_worker(self, fault: Fault, struck: Struck) -> None:
        self._end(self._one(fault, "worker"), signal.SIGTERM, struck)

    async def _stop_worker(self, fault: Fault, struck: Struck) -> None:
        """Beyond the lease: by the time it goes on, its tasks are another's."""
        lasts = self._deployment.size.lease_s + fault.between(*_BEYOND_LEASE_S)
        self._pause(self._one(fault, "worker"), lasts, struck)

    async def _stop_redis(self, fault: Fault, struck: Struck) -> None:
        self._pause(self._one(fault, REDIS), fault.between(*_STOP_REDIS_S), struck)

    # -- connections

    async def _cut(self, fault: Fault, struck: Struck) -> None:
        """Every connection of one process: a worker's to Redis, a gateway's to Redis and to its clients."""
        slot = self._linked(fault)
        struck.hit(slot, slot.pid)
        for proxy in _proxies(slot):
            proxy.cut()

    async def _slow(self, fault: Fault, struck: Struck) -> None:
        slot = self._linked(fault)
        struck.hit(slot, slot.pid)
        for proxy in _proxies(slot):
            proxy.slow(fault.between(*_SLOW_S))
        self._heal(_SLOW_LASTS_S, struck, _proxies(slot))

    async def _half_open(self, fault: Fault, struck: Struck) -> None:
        """To Redis, and for longer than a lease in most cases: the worker has to stop its runs by itself."""
        slot = self._linked(fault)
        struck.hit(slot, slot.pid)
        assert slot.proxy is not None
        slot.proxy.half_open("both")
        self._heal(fault.between(*_HALF_OPEN_S), struck, [slot.proxy])

    async def _lost_replies(self, fault: Fault, struck: Struck) -> None:
        """What is sent arrives and is done; what is answered never comes."""
        slot = self._linked(fault)
        struck.hit(slot, slot.pid)
        assert slot.proxy is not None
        slot.proxy.half_open("replies")
        self._heal(fault.between(*_HALF_OPEN_S), struck, [slot.proxy])

    # -- the provider, and tasks that kill

    async def _provider_error(self, fault: Fault, struck: Struck) -> None:
        status = (500, 503, 429)[fault.choose(3)]
        await self._provider(f"status={status} retry_after=1", fault, struck)

    async def _provider_hang(self, fault: Fault, struck: Struck) -> None:
        await self._provider("hang", fault, struck)

    async def _provider_drip(self, fault: Fault, struck: Struck) -> None:
        await self._provider("slow_drip=0.1", fault, struck)

    async def _provider_broken(self, fault: Fault, struck: Struck) -> None:
        await self._provider("broken_stream", fault, struck)

    async def _poison_task(self, fault: Fault, struck: Struck) -> None:
        struck.victims.append("a worker, again and again")
        await self._poison()

    # -- what they are made of

    def _one(self, fault: Fault, role: str) -> Slot | None:
        up = self._deployment.up(role)
        return up[fault.choose(len(up))] if up else None

    def _linked(self, fault: Fault) -> Slot:
        slots = self._deployment.proxied()
        return slots[fault.choose(len(slots))]

    def _end(self, slot: Slot | None, number: signal.Signals, struck: Struck) -> None:
        if slot is not None:
            struck.hit(slot, self._deployment.signal(slot, number, ends=True))

    def _pause(self, slot: Slot | None, seconds: float, struck: Struck) -> None:
        if slot is None:
            return
        pid = self._deployment.signal(slot, signal.SIGSTOP, ends=False)
        struck.hit(slot, pid)

        async def go_on() -> None:
            await asyncio.sleep(seconds)
            if slot.pid == pid:  # not that of another process meanwhile
                self._deployment.signal(slot, signal.SIGCONT, ends=False)
            struck.until = time.time()

        self._later(go_on())

    def _heal(self, seconds: float, struck: Struck, proxies: list[Proxy]) -> None:
        async def heal() -> None:
            await asyncio.sleep(seconds)
            for proxy in proxies:
                proxy.heal()
            struck.until = time.time()

        self._later(heal())

    async def _provider(self, directives: str, fault: Fault, struck: Struck) -> None:
        calls = round(fault.between(*_CALLS))
        struck.victims.append(f"{calls} model calls")
        await self._models.fail(directives, calls)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._healing.add(task)
        task.add_done_callback(self._healing.discard)


def _proxies(slot: Slot) -> list[Proxy]:
    return [proxy for proxy in (slot.proxy, slot.front) if proxy is not None]
