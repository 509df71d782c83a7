"""Tokens and cost since a day, summed by user, model, agent or caller. Days are UTC days, today included."""

import argparse
import asyncio
import csv
import dataclasses
import re
import sys
from collections.abc import Iterable
from typing import Literal, cast

from redis.exceptions import RedisError

from core_config import Settings
from operations import configuration, redis_check, runstate, terminal
from operations.errors import CommandError
from taskstore.connection import connect
from taskstore.errors import StoreError
from taskstore.records import UsageRow
from taskstore.store import TaskStore

By = Literal["caller", "user", "agent", "model"]


@dataclasses.dataclass
class Total:
    """What one name spent over all days. `cost_usd` is None when no attempt's price is known."""

    name: str
    tasks: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cost_usd: float | None = None
    unpriced: int = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--by", choices=("user", "model", "agent", "caller"), default="model")
    parser.add_argument("--since", type=_days, default=7, metavar="DAYS", help="such as 7d, or 24h for today (7d)")
    parser.add_argument("--csv", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> int:
    settings = configuration.load()
    url = redis_of(settings)
    redis_check.check(url)
    try:
        rows = asyncio.run(_rows(settings, url, cast(By, arguments.by), arguments.since))
    except (RedisError, StoreError) as error:
        raise CommandError(f"the usage cannot be read: {error}") from None
    totals = summed(rows)
    if arguments.csv:
        _write_csv(totals, arguments.by)
    else:
        _show(totals, arguments)
    return 0


def redis_of(settings: Settings) -> str:
    """The Redis of REDIS_URL, or the private one. CommandError when that does not run."""
    if settings.redis_url is not None:
        return settings.redis_url
    state = runstate.running(settings.var_dir)
    if state is None or not state.redis_is_private:
        raise CommandError("Longhaul is not running, and its private Redis with it. Start it: python3 manage.py start.")
    return state.redis_url


def summed(rows: Iterable[UsageRow]) -> list[Total]:
    """One total a name, the dearest first, those of unknown cost last."""
    totals: dict[str, Total] = {}
    for row in rows:
        total = totals.setdefault(row.name, Total(row.name))
        total.tasks += row.tasks
        total.prompt_tokens += row.prompt_tokens
        total.completion_tokens += row.completion_tokens
        total.total_tokens += row.total_tokens
        total.unpriced += row.unpriced
        if row.cost_usd is not None:
            total.cost_usd = (total.cost_usd or 0.0) + row.cost_usd
    return sorted(totals.values(), key=lambda total: (-(total.cost_usd or 0.0), -total.total_tokens, total.name))


def cost_text(total: Total) -> str:
    """`unknown`, the sum, or the sum with how many attempts it leaves out."""
    if total.cost_usd is None:
        return "unknown"
    return terminal.dollars(total.cost_usd) + (f" + {total.unpriced} unknown" if total.unpriced else "")


def _days(text: str) -> int:
    found = re.fullmatch(r"(\d{1,5})(d|h|w)?", text)
    if not found or not int(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 7d, 2w or 24h")
    count = int(found[1])
    return {"w": count * 7, "h": -(-count // 24)}.get(found[2], count)


async def _rows(settings: Settings, url: str, by: By, days: int) -> list[UsageRow]:
    async with connect(url) as client:
        return await TaskStore(client, settings).usage(by=by, since_days=days)


def _write_csv(totals: list[Total], by: str) -> None:
    names = [by if field.name == "name" else field.name for field in dataclasses.fields(Total)]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(["" if value is None else value for value in dataclasses.astuple(total)] for total in totals)


def _show(totals: list[Total], arguments: argparse.Namespace) -> None:
    if not totals:
        print(f"No task has used a model in the last {arguments.since} days.")
        return
    terminal.table(
        (arguments.by.upper(), ">TASKS", ">PROMPT", ">COMPLETION", ">TOKENS", ">COST"),
        [
            (
                total.name,
                str(total.tasks),
                str(total.prompt_tokens),
                str(total.completion_tokens),
                str(total.total_tokens),
                cost_text(total),
            )
            for total in totals
        ],
    )
