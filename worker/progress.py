"""What a task's run has got done, as this worker knows it: read once, changed here, written by the writer.

Fields and bytes: checkpoints.py and ledger.py know what they mean. Nothing is read back during an attempt, since nobody
else may write while its lease holds.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from agent.durable import Earlier
from agent.meter import Meter
from taskstore.errors import StoreUnavailable
from taskstore.progress import Progress, Spent
from taskstore.records import TokenUsage

from .storable import clean

SEPARATOR = "\x1f"
"""Between the parts of a field's name."""
ANSWERED, STEPS = "answered", "steps"
AGAIN_AFTER_S = 0.5
AT_ONCE = 0.0
SOON_S = 0.02
"""How long what nobody waits for waits for company: a tool's result, mostly, for the checkpoint that follows it."""
MAX_PARTIAL_CHARS = 65_536

Read = Callable[[], Awaitable[Mapping[str, bytes]]]

log = logging.getLogger(__name__)


class NotKeptError(Exception):
    """The lease is lost, the attempt is over, or Redis refuses the write: the run must not go on."""


class TaskProgress:
    """`set` and `drop` change it, `kept` waits until the changes are in Redis. The writer takes them, and gives them
    back when it could not write them.
    """

    def __init__(self, on_change: Callable[[float], None], read: Read | None = None) -> None:
        """`on_change(seconds)` asks the writer to write within that time. `read` answers what earlier attempts left."""
        self.meter = Meter()
        """The attempt's: what it has spent is written with what that was spent on."""
        self._on_change = on_change
        self._read = read
        self._fields: dict[str, bytes] = {}
        self._stored: set[str] = set()
        self._set: dict[str, bytes] = {}
        self._held: dict[str, bytes] = {}
        self._dropped: set[str] = set()
        self._number = 0
        self._written = 0
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._told: Spent | None = None
        self._earlier = Earlier()
        self._step = 0
        self._closed = False

    async def open(self) -> Earlier:
        """What earlier attempts left. A Redis that is away is waited for: that is no failure of the task."""
        while self._read is not None:
            try:
                self._fields = dict(await self._read())
            except StoreUnavailable as error:
                log.warning("progress_unread", extra={"cause": str(error)})
                await asyncio.sleep(AGAIN_AFTER_S)
            else:
                self._read = None
                self._stored = set(self._fields)
                found = Earlier(*(int(self._fields.get(name, b"0")) for name in (ANSWERED, STEPS)))
                self._earlier, self._step = found, found.steps
        return self._earlier

    def fields(self, prefix: str) -> dict[str, bytes]:
        return {name: value for name, value in self._fields.items() if name.startswith(prefix)}

    def get(self, field: str) -> bytes | None:
        return self._fields.get(field)

    def set(self, field: str, value: bytes) -> None:
        if not self._closed:
            self._fields[field] = self._set[field] = value
            self._held.pop(field, None)
            self._dropped.discard(field)

    def hold(self, field: str, value: bytes) -> None:
        """Is written with the first change, if there is one: by itself it is no progress."""
        if not self._closed:
            self._fields[field] = self._held[field] = value

    def drop(self, field: str) -> None:
        if not self._closed:
            self._fields.pop(field, None)
            self._set.pop(field, None)
            self._held.pop(field, None)
            if field in self._stored:
                self._dropped.add(field)

    def write_within(self, seconds: float) -> None:
        """Nobody waits for what has changed, but it is to be written soon."""
        if self._changed and not self._closed:
            self._on_change(seconds)

    async def kept(self) -> None:
        """Returns once all that has changed is in Redis. Raises NotKeptError."""
        if self._closed:
            raise NotKeptError("the attempt is over")
        awaited = self._number + 1 if self._changed else self._number
        if awaited > self._written:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((awaited, future))
            self._on_change(AT_ONCE)
            await future

    def began(self, step: int) -> None:
        """A step of that number."""
        self._step = max(self._step, step)

    def close(self) -> None:
        """Nothing changes from here on; what has changed can still be taken."""
        self._closed = True

    # -- the writer's

    @property
    def _changed(self) -> bool:
        return bool(self._set or self._dropped)

    def take(self) -> Progress | None:
        """All that has changed; None when nothing has."""
        spent = self._spent()
        if not self._changed and spent is None:
            return None
        if spent is not None:
            self._told = spent
        if self._changed:  # counts alone would be no progress to go on from
            self._set, self._held = self._held | self._set, {}
            for name, count in ((ANSWERED, self._earlier.model_calls + self.meter.answers), (STEPS, self._step)):
                if self._fields.get(name) != (text := str(count).encode()):
                    self._fields[name] = self._set[name] = text
        self._number += 1
        taken = Progress(self._number, self._set, sorted(self._dropped), spent)
        self._stored |= self._set.keys()
        self._set, self._dropped = {}, set()
        return taken

    def put_back(self, taken: Progress) -> None:
        """After a write that may or may not have arrived: what has changed since then counts more."""
        self._set = {name: value for name, value in taken.fields.items() if name not in self._dropped} | self._set
        self._dropped |= {name for name in taken.dropped if name not in self._set}
        if taken.spent is not None:
            self._told = None

    def written(self, taken: Progress) -> None:
        self._written = taken.number
        left = []
        for number, future in self._waiting:
            if number > self._written:
                left.append((number, future))
            elif not future.done():
                future.set_result(None)
        self._waiting = left

    def refused(self, why: str) -> None:
        """Nothing more can be written: whoever waits is told."""
        self.close()
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(NotKeptError(why))
        self._waiting = []

    def _spent(self) -> Spent | None:
        """What the attempt has spent, when the store does not know it yet."""
        if not self.meter.answers:
            return None
        spent = Spent(
            usage=TokenUsage.of(self.meter.usage.as_dict()),
            cost_usd=self.meter.cost_usd,
            answered_by=self.meter.model,
            simulated=self.meter.simulated,
            partial=clean(self.meter.partial[:MAX_PARTIAL_CHARS]) or None,
        )
        return None if spent == self._told else spent
