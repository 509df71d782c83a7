"""What a running gateway holds: made by the lifespan, read by the routes."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.requests import Request

from agents_config import AgentConfig
from core_config import Settings
from monitoring.stored_page import StoredMetrics
from taskstore.follow import Follower
from taskstore.store import TaskStore
from taskstore.watch import Watcher

from .auth import Caller
from .models import Models
from .refusals import Refusals
from .watch_tokens import WatchTokens


@dataclass(frozen=True, slots=True)
class Gateway:
    settings: Settings
    models: Models
    agents: Mapping[str, AgentConfig]
    store: TaskStore
    watcher: Watcher
    follower: Follower
    watch_tokens: WatchTokens
    stored: StoredMetrics
    refusals: Refusals = field(default_factory=Refusals)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at the start of a shutdown: whoever waits for a task answers with what there is."""

    def begin_stop(self) -> None:
        self.stopping.set()
        self.follower.wake_all()


def gateway_of(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


def caller_of(request: Request) -> Caller:
    """The caller that the guard let in. Only for routes that are not open to all."""
    caller: Caller = request.state.caller
    return caller
