"""What the simulator saw, kept apart from everything that Longhaul says of itself: an independent witness. Bounded."""

import time
from collections import Counter, deque
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

MAX_EXCERPT_CHARS = 200
MIN_SECRET_CHARS = 12


class Outcome(StrEnum):
    RUNNING = "running"  # not answered yet
    ANSWERED = "answered"  # the whole answer was handed to the connection
    REFUSED = "refused"  # a wrong request: the client's mistake
    LIMITED = "limited"  # over a rate limit
    FAILED = "failed"  # an error that was asked for
    BROKEN = "broken"  # an answer that was asked to be broken
    DISCONNECTED = "disconnected"  # the client left before the end
    STOPPED = "stopped"  # the simulator was shut down first
    CRASHED = "crashed"  # a fault of the simulator itself


@dataclass(slots=True)
class Entry:
    seq: int
    at: str  # UTC
    authorized: bool  # whether a bearer key came; never the key
    model: str = ""
    message: str = ""  # the beginning of the last user message
    message_hash: str = ""  # of all of it
    messages: int = 0
    step: int = 0
    tools: list[str] = field(default_factory=list)
    asked: list[Any] | None = None  # all messages, with --keep-messages
    stream: bool = False
    outcome: Outcome = Outcome.RUNNING
    status: int | None = None
    fault: str | None = None
    finish_reason: str | None = None
    called: list[str] = field(default_factory=list)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    duration_ms: float | None = None
    began: float = 0.0  # monotonic; not shown


_SHOWN = [entry_field.name for entry_field in fields(Entry) if entry_field.name != "began"]


@dataclass(frozen=True, slots=True)
class JournalQuery:
    """The last `limit` calls after the number `since` whose message holds `match`."""

    limit: int = 1000
    match: str = ""
    since: int = 0


class Journal:
    def __init__(self, size: int) -> None:
        self._entries: deque[Entry] = deque(maxlen=size)
        self._started = time.monotonic()
        self._seq = 0
        self.clear()

    def clear(self) -> None:
        """Forgets finished calls and their counts; those that still run stay."""
        running = [entry for entry in self._entries if entry.outcome is Outcome.RUNNING]
        self._entries.clear()
        self._entries.extend(running)
        self._outcomes: Counter[str] = Counter()
        self._statuses: Counter[str] = Counter()
        self._calls = len(running)
        self._running = len(running)
        self._peak = len(running)
        self._prompt_tokens = 0
        self._completion_tokens = 0

    def open(self, *, authorized: bool) -> Entry:
        self._seq += 1
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        entry = Entry(self._seq, now, authorized, began=time.monotonic())
        self._entries.append(entry)
        self._calls += 1
        self._running += 1
        self._peak = max(self._peak, self._running)
        return entry

    def close(self, entry: Entry, outcome: Outcome) -> None:
        entry.outcome = outcome
        entry.duration_ms = round((time.monotonic() - entry.began) * 1000, 1)
        self._running -= 1
        self._outcomes[outcome.value] += 1
        if entry.status is not None:
            self._statuses[str(entry.status)] += 1
        self._prompt_tokens += entry.prompt_tokens
        self._completion_tokens += entry.completion_tokens

    def as_json(self, query: JournalQuery) -> dict[str, Any]:
        """Counters over all calls, and the calls that the query picks, oldest first."""
        found = [entry for entry in self._entries if entry.seq > query.since and query.match in entry.message]
        shown = found[max(0, len(found) - query.limit) :]
        return {
            "simulated": True,
            "counters": self.counters(),
            "kept": len(self._entries),
            "calls": [_shown(entry) for entry in shown],
        }

    @property
    def running(self) -> int:
        return self._running

    def counters(self) -> dict[str, Any]:
        return {
            "calls": self._calls,
            "running": self._running,
            "running_peak": self._peak,
            "outcomes": dict(self._outcomes),
            "statuses": dict(self._statuses),
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": self._completion_tokens,
            "uptime_s": round(time.monotonic() - self._started, 3),
        }


def excerpt(text: str, key: str | None) -> str:
    """The beginning of a message, without the caller's key even where the message quotes it. A key that is as short as
    a word (a local server takes any) is none to protect, and taking it out would garble other words.
    """
    if key and len(key) >= MIN_SECRET_CHARS:
        text = text.replace(key, "[key]")
    return text[:MAX_EXCERPT_CHARS]


def _shown(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in _SHOWN}
