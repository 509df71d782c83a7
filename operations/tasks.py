"""Lists every caller's tasks, newest first.

It reads the task store itself, so it also works while no gateway runs. `manage.py why TASK_ID` tells all of one task.
"""

import argparse
import asyncio
import json
import re
from datetime import UTC, datetime, timedelta

from redis.exceptions import RedisError

from core_config import Settings
from operations import configuration, redis_check, terminal
from operations.cost import redis_of
from operations.errors import CommandError
from taskstore.connection import connect
from taskstore.errors import StoreError
from taskstore.listing import TaskFilter
from taskstore.records import TaskRecord
from taskstore.states import Status
from taskstore.store import ANY_CALLER, TaskStore

PAGE = 100
MESSAGE_CHARS = 48

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    statuses = [status.value for status in Status]
    parser.add_argument("--status", action="append", choices=statuses, help="any of those given")
    parser.add_argument("--session", metavar="ID")
    parser.add_argument("--user", metavar="ID")
    parser.add_argument("--agent", metavar="NAME")
    parser.add_argument("--model", metavar="NAME", help="that it was submitted for")
    parser.add_argument("--metadata", type=_pair, action="append", default=[], metavar="KEY=VALUE", help="all of those")
    parser.add_argument("--since", type=moment, metavar="TIME", help="created since: 90s, 30m, 2h, 7d, or ISO 8601")
    parser.add_argument("--until", type=moment, metavar="TIME", help="created before")
    parser.add_argument("--caller", metavar="NAME", default=ANY_CALLER)
    parser.add_argument("--limit", type=count, default=20, metavar="N", help="most tasks shown (20)")
    parser.add_argument("--json", action="store_true", help="for programs: one object a line")


def run(arguments: argparse.Namespace) -> int:
    settings = configuration.load()
    url = redis_of(settings)
    redis_check.check(url)
    wanted = TaskFilter(
        statuses=frozenset(map(Status, arguments.status)) if arguments.status else None,
        session_id=arguments.session,
        user_id=arguments.user,
        agent=arguments.agent,
        model=arguments.model,
        metadata=dict(arguments.metadata),
        since=arguments.since,
        until=arguments.until,
    )
    try:
        found, more = asyncio.run(_find(settings, url, wanted, arguments.caller, arguments.limit))
    except (RedisError, StoreError) as error:
        raise CommandError(f"the tasks cannot be read: {error}") from None
    if arguments.json:
        for task in found:
            print(json.dumps(_for_programs(task)))
    elif found:
        _show(found)
        if more:
            print("There are more: use --limit, or --until with the last one's time.")
    else:
        print("No task is like that. Final ones are kept for RESULT_TTL_SECONDS.")
    return 0


async def _find(
    settings: Settings, url: str, wanted: TaskFilter, caller: str, limit: int
) -> tuple[list[TaskRecord], bool]:
    """As many as `limit`, page after page, and whether there may be more."""
    found: list[TaskRecord] = []
    async with connect(url) as client:
        store, after = TaskStore(client, settings), None
        while True:
            page = await store.list_tasks(wanted, limit=min(PAGE, limit - len(found)), after=after, caller=caller)
            found += page.tasks
            after = page.next
            if after is None or len(found) >= limit:
                return found, after is not None


def _show(tasks: list[TaskRecord]) -> None:
    terminal.table(
        ("TASK", "STATUS", "CREATED (UTC)", ">WAITED", ">RAN", ">COST", "WHO", "MESSAGE"),
        [
            (
                task.task_id,
                f"{task.status.value} ({task.error_code})" if task.error_code else task.status.value,
                task.created_at.strftime("%m-%d %H:%M:%S"),
                _seconds(task.queued_ms),
                _seconds(task.duration_ms),
                "-" if task.usage is None else terminal.dollars(task.cost_usd),
                terminal.plain(f"{task.caller}/{task.user_id}" if task.user_id else task.caller, 30),
                terminal.plain(task.message, MESSAGE_CHARS),
            )
            for task in tasks
        ],
    )


def _for_programs(task: TaskRecord) -> dict[str, object]:
    return {
        "task_id": task.task_id,
        "caller": task.caller,
        "status": task.status.value,
        "created_at": task.created_at.isoformat(timespec="milliseconds"),
        "completed_at": None if task.completed_at is None else task.completed_at.isoformat(timespec="milliseconds"),
        "queued_ms": task.queued_ms,
        "duration_ms": task.duration_ms,
        "attempt": task.attempt,
        "model": task.model,
        "agent": task.agent,
        "user_id": task.user_id,
        "session_id": task.session_id,
        "metadata": dict(task.metadata),
        "error_code": task.error_code,
        "total_tokens": None if task.usage is None else task.usage.total_tokens,
        "cost_usd": task.cost_usd,
        "message": task.message,
    }


def _seconds(ms: int | None) -> str:
    return "-" if ms is None else f"{ms / 1000:.2f} s"


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return name, value


def moment(text: str) -> datetime:
    """The type of an option: `90s`, `2h` and the like ago, or ISO 8601, in local time unless it says otherwise."""
    ago = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if ago:
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 2h, 7d or 2026-12-31T09:00:00Z") from None
    return time if time.tzinfo else time.astimezone()


def count(text: str) -> int:
    """The type of an option: a whole number from 1 on."""
    if not text.isdecimal() or not 1 <= int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 100000")
    return int(text)
