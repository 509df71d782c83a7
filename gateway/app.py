"""The application: `create_app(settings)`. Nothing happens at import time, and nothing here needs Redis to be there."""

import contextlib
import logging
from collections.abc import AsyncIterator, Mapping

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.middleware.cors import CORSMiddleware

from agents_config import AgentConfig, load_agents
from core_config import VERSION, ConfigurationError, Settings
from monitoring import metrics, redis_calls
from monitoring.process_metrics import ProcessMetrics
from monitoring.stored_page import StoredMetrics
from taskstore.connection import connect
from taskstore.follow import Follower
from taskstore.store import TaskStore
from taskstore.watch import Watcher

from .auth import KeyRing
from .body import JsonRoute
from .cors import options_of
from .edge import Edge
from .guard import Guard
from .models import Models, models_of
from .openapi import describe
from .problems import HANDLED, answer_problem
from .routes import add_routes
from .running import Gateway
from .validation import answer_invalid
from .watch_tokens import WatchTokens

log = logging.getLogger(__name__)


def create_app(settings: Settings) -> FastAPI:
    """Raises ConfigurationError when it may not serve like this."""
    refuse_open_door(settings, settings.gateway_host)
    keys = KeyRing(settings) if settings.has_api_keys else None
    models, agents = models_of(settings), load_agents(settings).agents
    app = FastAPI(
        title="Longhaul",
        version=VERSION,
        description="LLM agents as queued work. Errors are problems (RFC 9457) with a stable `code`.",
        lifespan=lambda app: _running(app, settings, models, agents),
        docs_url="/docs" if keys is None else None,  # a browser cannot send a key
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # FastAPI's own, asked about at every request
    )
    app.router.route_class = JsonRoute
    add_routes(app)
    describe(app, with_keys=keys is not None)
    for kind in HANDLED:
        app.add_exception_handler(kind, answer_problem)
    app.add_exception_handler(RequestValidationError, answer_invalid)
    app.add_middleware(Guard, keys=keys)
    app.add_middleware(Edge, routes=app.routes, page=app.docs_url)
    if cors := options_of(settings):
        app.add_middleware(CORSMiddleware, **cors)  # added last, so outermost
    return app


def refuse_open_door(settings: Settings, host: str) -> None:
    """Raises ConfigurationError when `host` is reachable from elsewhere and nobody would need a key."""
    if settings.has_api_keys or settings.model_copy(update={"gateway_host": host}).gateway_is_local:
        return
    raise ConfigurationError(
        f"GATEWAY_HOST={host} can be reached from other machines, and without API_KEYS anybody there could run tasks. "
        "Set API_KEYS (`python manage.py keys new NAME` makes an entry), or GATEWAY_HOST=127.0.0.1."
    )


@contextlib.asynccontextmanager
async def _running(
    app: FastAPI, settings: Settings, models: Models, agents: Mapping[str, AgentConfig]
) -> AsyncIterator[None]:
    redis = connect(settings.redis_address)
    listening = connect(settings.redis_address, blocking=True)
    watcher = Watcher(listening, settings)
    store = TaskStore(redis, settings, redis_calls.observe)
    app.state.gateway = Gateway(
        settings,
        models,
        agents,
        store,
        watcher,
        Follower(redis, watcher, settings),
        WatchTokens(redis, settings),
        StoredMetrics(store, models={one.model or models.active for one in agents.values()}, agents=agents),
    )
    if settings.gateway_processes > 1 and metrics.SHARED is None:
        log.warning("metrics_not_shared", extra={"remedy": f"set {metrics.MULTIPROC_DIR} to a directory"})
    process = ProcessMetrics("gateway")
    await process.start()
    await watcher.start()
    log.info("started", extra={"model": models.active, "simulated": models.registry[models.active].simulated})
    try:
        yield
    finally:
        await watcher.stop()
        await process.stop()
        await listening.aclose()
        await redis.aclose()
        log.info("stopped")
