"""Sessions: which there are, what one remembers, and deleting it.

It reads and writes the task store itself, so it also works while no gateway runs. A session belongs to a caller and is
named by its id and its user, if it has one: docs/sessions.md.
"""

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.exceptions import RedisError

from operations import configuration, redis_check, terminal
from operations.cost import redis_of
from operations.errors import CommandError
from operations.tasks import count
from taskstore.connection import connect
from taskstore.errors import SessionNotFound, StoreError
from taskstore.sessions import Conversation, Session, Sessions
from taskstore.store import TaskStore

PAGE = 100
NOT_THERE = "there is no such session of that caller and user; `manage.py sessions list` shows those that there are."

_Answer = TypeVar("_Answer")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|delete")
    listing = actions.add_parser("list", help="those first in which something happened last", allow_abbrev=False)
    listing.add_argument("--limit", type=count, default=20, metavar="N", help="most shown (20)")
    show = actions.add_parser("show", help="what one remembers", allow_abbrev=False)
    delete = actions.add_parser("delete", help="forget what one remembers, for good", allow_abbrev=False)
    for one in (show, delete):
        one.add_argument("session_id", metavar="ID")
    for action in (listing, show, delete):
        action.add_argument("--caller", metavar="NAME", default="local", help="whose (local)")
        action.add_argument("--user", metavar="ID", help="with this user_id")
    for action in (listing, show):
        action.add_argument("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> int:
    match arguments.action:
        case "list":
            found, more = _in_store(lambda sessions: _list(sessions, arguments))
            _show_all(found, more=more, as_json=arguments.json)
        case "show":
            conversation = _in_store(lambda sessions: sessions.read(*_name(arguments)))
            _show_one(conversation, as_json=arguments.json)
        case _:
            turns = _in_store(lambda sessions: sessions.forget(*_name(arguments)))
            if turns is None:
                raise CommandError(NOT_THERE)
            print(f"Deleted, with {turns} turn{'' if turns == 1 else 's'}. Its tasks' records stay as long as others'.")
    return 0


def _name(arguments: argparse.Namespace) -> tuple[str, str, str | None]:
    return arguments.caller, arguments.session_id, arguments.user


def _in_store(act: Callable[[Sessions], Awaitable[_Answer]]) -> _Answer:
    settings = configuration.load()
    url = redis_of(settings)
    redis_check.check(url)

    async def work() -> _Answer:
        async with connect(url) as client:
            return await act(TaskStore(client, settings).sessions)

    try:
        return asyncio.run(work())
    except SessionNotFound:
        raise CommandError(NOT_THERE) from None
    except (RedisError, StoreError) as error:
        raise CommandError(f"the sessions cannot be had: {error}") from None


async def _list(sessions: Sessions, arguments: argparse.Namespace) -> tuple[list[Session], bool]:
    """As many as were asked for, page after page, and whether there may be more."""
    found: list[Session] = []
    after = None
    while True:
        most = min(PAGE, arguments.limit - len(found))
        page = await sessions.list(arguments.caller, limit=most, after=after, user_id=arguments.user)
        found += page.sessions
        after = page.next
        if after is None or len(found) >= arguments.limit:
            return found, after is not None


def _show_all(sessions: list[Session], *, more: bool, as_json: bool) -> None:
    if as_json:
        for one in sessions:
            print(json.dumps(_for_programs(one)))
    elif not sessions:
        print("No session is like that.")
    else:
        terminal.table(
            ("SESSION", "USER", ">TURNS", "LAST (UTC)", "EXPIRES (UTC)", "BUSY WITH", ">WAITING"),
            [
                (
                    terminal.plain(one.session_id, 40),
                    terminal.plain(one.user_id or "-", 20),
                    str(one.turns),
                    f"{one.updated_at:%m-%d %H:%M:%S}",
                    "-" if one.expires_at is None else f"{one.expires_at:%m-%d %H:%M:%S}",
                    one.busy_task_id or "-",
                    str(one.waiting),
                )
                for one in sessions
            ],
        )
        if more:
            print("There are more: use --limit.")


def _show_one(conversation: Conversation, *, as_json: bool) -> None:
    turns = [
        {"task_id": turn.task_id, "at": turn.at.isoformat(), "message": turn.message, "answer": turn.answer}
        for turn in conversation.turns
    ]
    if as_json:
        print(json.dumps({**_for_programs(conversation.session), "remembered": turns}))
        return
    _show_all([conversation.session], more=False, as_json=False)
    if conversation.truncated:
        print("\nEarlier turns are not remembered.")
    for turn in conversation.turns:
        print(f"\n{turn.at:%m-%d %H:%M:%S}  task {turn.task_id}")
        for who, text in (("asked", turn.message), ("answered", turn.answer)):
            print("\n".join(f"  {who:<9} {terminal.plain(line, 2000)}" for line in text.splitlines() or [""]))


def _for_programs(session: Session) -> dict[str, object]:
    expires = session.expires_at
    return {
        "session_id": session.session_id,
        "user_id": session.user_id,
        "turns": session.turns,
        "created_at": session.created_at.isoformat(timespec="milliseconds"),
        "updated_at": session.updated_at.isoformat(timespec="milliseconds"),
        "expires_at": None if expires is None else expires.isoformat(timespec="milliseconds"),
        "busy_task_id": session.busy_task_id,
        "waiting": session.waiting,
    }
