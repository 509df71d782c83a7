"""The bodies of the session routes: what can be asked, and what a session shows."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from taskstore.sessions import Conversation, Session, SessionPage, SessionTurn

from .auth import Caller
from .listing import LIMIT, LONGEST_PAGE, parsed_cursor
from .schemas import Name, Sent, Stamp


class SessionsQuery(Sent):
    user_id: Name | None = Field(None, description="Only this user's.")
    caller: Name | None = Field(None, description="An admin's: this caller's sessions. Others see their own only.")
    limit: int = Field(LIMIT, ge=1, le=LONGEST_PAGE)
    cursor: Annotated[str, Field(max_length=100), AfterValidator(parsed_cursor)] | None = Field(
        None, description="`next_cursor` of the page before."
    )


class SessionQuery(Sent):
    """With the id, a session's whole name."""

    user_id: Name | None = Field(None, description="As it was submitted with; unset, the session without a user_id.")
    caller: Name | None = Field(None, description="An admin's: of this caller. Others have their own only.")


def whose(caller: Caller, named: str | None) -> str | None:
    """None for nobody's: who is no admin sees as much of another caller as of one that does not exist."""
    if named is None or named == caller.name:
        return caller.name
    return named if caller.admin else None


class SessionSummary(BaseModel):
    session_id: str
    user_id: str | None
    turns: int = Field(description="All there have been, also those that it remembers no more.")
    created_at: Stamp
    updated_at: Stamp = Field(description="When a task of it last came or ended.")
    expires_at: Stamp | None = Field(description="Null while a task of it is queued or runs.")
    busy_task_id: str | None = Field(description="The task that has it: it runs, or is next to.")
    waiting: int = Field(description="Tasks behind that one.")

    @classmethod
    def of(cls, session: Session) -> "SessionSummary":
        return cls(
            session_id=session.session_id,
            user_id=session.user_id,
            turns=session.turns,
            created_at=session.created_at,
            updated_at=session.updated_at,
            expires_at=session.expires_at,
            busy_task_id=session.busy_task_id,
            waiting=session.waiting,
        )


class SessionList(BaseModel):
    sessions: list[SessionSummary] = Field(description="Those first in which something happened last.")
    next_cursor: str | None = Field(description="Goes on after this page; null when there is nothing more.")
    stopped_early: bool = Field(
        description="The page is not full because this call looked at as many as it may: go on at `next_cursor`."
    )

    @classmethod
    def of(cls, page: SessionPage) -> "SessionList":
        return cls(
            sessions=[SessionSummary.of(session) for session in page.sessions],
            next_cursor=None if page.next is None else str(page.next),
            stopped_early=page.stopped_early,
        )


class TurnView(BaseModel):
    task_id: str
    at: Stamp = Field(description="When the task succeeded.")
    message: str = Field(description="What was asked; of an `input`, its JSON.")
    answer: str = Field(description="The task's result; of typed work, its JSON.")

    @classmethod
    def of(cls, turn: SessionTurn) -> "TurnView":
        return cls(task_id=turn.task_id, at=turn.at, message=turn.message, answer=turn.answer)


class SessionView(BaseModel):
    session: SessionSummary
    turns: list[TurnView] = Field(description="Those that it remembers, oldest first.")
    truncated: bool = Field(description="There were earlier turns, which it remembers no more.")

    @classmethod
    def of(cls, conversation: Conversation) -> "SessionView":
        return cls(
            session=SessionSummary.of(conversation.session),
            turns=[TurnView.of(turn) for turn in conversation.turns],
            truncated=conversation.truncated,
        )


class SessionDeleted(BaseModel):
    session_id: str
    user_id: str | None
    deleted: bool = Field(
        description="False when there is no such session: it may have been deleted or expired before."
    )
    turns: int = Field(description="How many it had.")
