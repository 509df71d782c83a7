"""Holds back the tasks of a model or an agent: they are accepted and wait, and are not started before `resume`.

What runs goes on. Chats wait too. It reaches every worker at once and lasts until `resume`, over restarts.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

from redis.exceptions import RedisError

from agents_config import load_agents
from core_config import Settings, load_registry, nearest
from operations import configuration, redis_check
from operations.cost import redis_of
from operations.errors import CommandError
from taskstore.connection import connect
from taskstore.errors import StoreError
from taskstore.store import TaskStore

Kind = Literal["model", "agent"]
T = TypeVar("T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--model", metavar="NAME", help="a model of the registry")
    what.add_argument("--agent", metavar="NAME", help="an agent")


def run(arguments: argparse.Namespace) -> int:
    settings = configuration.load()
    kind, name = what_of(arguments)
    check_known(settings, kind, name)
    in_store(settings, lambda store: store.pause(kind, name))
    print(f"Tasks of {kind} {name} are accepted and wait; what runs goes on.")
    print(f"Start them again: python3 manage.py resume --{kind} {name!r}")
    return 0


def what_of(arguments: argparse.Namespace) -> tuple[Kind, str]:
    return ("agent", arguments.agent) if arguments.model is None else ("model", arguments.model)


def check_known(settings: Settings, kind: Kind, name: str) -> None:
    """Raises CommandError for what no task can name."""
    known = list(load_registry(settings) if kind == "model" else load_agents(settings).agents)
    if name not in known:
        raise CommandError(f"there is no {kind} {name!r}. {nearest(name, known)}.")


def in_store(settings: Settings, act: Callable[[TaskStore], Awaitable[T]]) -> T:
    """Raises CommandError when the store does not answer."""
    url = redis_of(settings)
    redis_check.check(url)

    async def ask() -> T:
        async with connect(url) as client:
            return await act(TaskStore(client, settings))

    try:
        return asyncio.run(ask())
    except (RedisError, StoreError) as error:
        raise CommandError(f"Redis did not take it: {error}") from None
