"""Sessions as people see them: which there are, what each remembers, and forgetting it.

A session belongs to one caller, and is named by user_id and session_id. Its tasks' order and its turns are kept by the
tasks' own verbs (scripts/_sessions.lua).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from .errors import SessionNotFound
from .events import moment
from .listing import MOST_LOOKED_AT, Cursor
from .records import session_key
from .scripts import Scripts


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    session_id: str
    user_id: str | None
    created_at: datetime
    updated_at: datetime
    """When a task of it was last submitted or became final."""
    expires_at: datetime | None
    """None while a task of it is live."""
    busy_task_id: str | None
    """The task that has it."""
    waiting: int
    """Tasks behind that one."""
    turns: int
    """All there have been, also those that it remembers no more."""

    @classmethod
    def of(cls, view: Sequence[Any]) -> "Session":
        flat, waiting, expires = view
        fields: Mapping[str, str] = dict(zip(flat[::2], flat[1::2], strict=True))
        return cls(
            session_id=fields["session_id"],
            user_id=fields.get("user_id"),
            created_at=moment(fields["created_at"]),
            updated_at=moment(fields["updated_at"]),
            expires_at=moment(expires) if expires else None,
            busy_task_id=fields.get("holder"),
            waiting=int(waiting),
            turns=int(fields["turns"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTurn:
    """A task that succeeded: what it was asked, and its answer. Long texts are cut."""

    task_id: str
    at: datetime
    """When it succeeded."""
    message: str
    answer: str


@dataclass(frozen=True, slots=True)
class Conversation:
    session: Session
    turns: Sequence[SessionTurn]
    """Those that it remembers, oldest first."""

    @property
    def truncated(self) -> bool:
        """There were earlier turns, which it remembers no more."""
        return len(self.turns) < self.session.turns


@dataclass(frozen=True, slots=True)
class SessionPage:
    sessions: Sequence[Session]
    next: Cursor | None
    """None when there is nothing more."""
    stopped_early: bool
    """The limit of what one page looks at was reached before the page was full: go on at `next`."""


class Sessions:
    """`TaskStore.sessions`. Raises StoreUnavailable as the store does."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def list(
        self, caller: str, *, limit: int, after: Cursor | None = None, user_id: str | None = None
    ) -> SessionPage:
        """At most `limit` of the caller's sessions, those first in which something happened last."""
        place = ("", "") if after is None else (after.created_ms, after.task_id)
        wanted = ("0", "") if user_id is None else ("1", user_id)
        word, updated_ms, last, views = await self._scripts.run(
            "sessions", caller, limit, MOST_LOOKED_AT, *place, *wanted
        )
        more = None if word == "end" else Cursor(int(updated_ms), last)
        return SessionPage([Session.of(view) for view in views], more, word == "stopped")

    async def read(self, caller: str, session_id: str, user_id: str | None = None) -> Conversation:
        """Raises SessionNotFound."""
        key = session_key(user_id, session_id)
        answer: Any = await self._scripts.run("read_session", caller, key) if key else "not_found"
        if answer == "not_found":
            raise SessionNotFound
        view, turns = answer
        return Conversation(Session.of(view), [_turn(orjson.loads(turn)) for turn in turns])

    async def forget(self, caller: str, session_id: str, user_id: str | None = None) -> int | None:
        """Deletes what the session remembers: how many turns there had been, None when there is no such session. What
        its live tasks say is not remembered either.
        """
        key = session_key(user_id, session_id)
        turns = await self._scripts.run("forget_session", caller, key) if key else ""
        return int(turns) if turns else None


def _turn(turn: Mapping[str, str]) -> SessionTurn:
    return SessionTurn(task_id=turn["task"], at=moment(turn["at"]), message=turn["message"], answer=turn["answer"])
