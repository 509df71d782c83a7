"""`python -m worker`: one worker in the foreground. Ctrl-C or SIGTERM drains it; a second one releases at once."""

import argparse
import asyncio
import logging
import os
import secrets
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import uvloop
from pydantic import ValidationError

from agent.database_file import database_file
from agents_config import load_agents
from core_config import (
    VERSION,
    ConfigurationError,
    Settings,
    api_key_of,
    keep_loopback_off_proxies,
    load_registry,
)
from monitoring.logs import log_what_ends_it, setup_logging
from monitoring.tracing import Tracing
from taskstore.claims import ModelRules
from taskstore.records import WorkerInfo

EXIT_CONFIGURATION = 2


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__)
    parser.add_argument("--id", help="this worker's name; made up from host and process id unless given")
    # not for people: a worker starts another like this (worker/attendant.py)
    parser.add_argument("--quarantine", nargs=2, metavar=("PARENT", "PID"), help=argparse.SUPPRESS)
    parser.add_argument("--metrics-fd", type=int, help="file descriptor of a listening socket for the metrics page")
    options = parser.parse_args()
    try:
        settings = Settings()
        registry = load_registry(settings)
        models = {name: model.max_concurrency for name, model in registry.items()}
        rules = {
            name: ModelRules(rpm=model.rpm, cooldown=model.cooldown, fallbacks=model.fallbacks)
            for name, model in registry.items()
        }
        database_file(settings)
        servers = load_agents(settings).mcp.values()
        keys = [key for key in map(api_key_of, registry.values()) if key]
        keys += [secret for server in servers for secret in server.secrets()]
    except (ConfigurationError, ValidationError) as error:
        sys.stderr.write(f"The configuration does not work: {error}\n")
        return EXIT_CONFIGURATION
    redact = setup_logging(settings, "quarantine" if options.quarantine else "worker", secrets=keys)
    keep_loopback_off_proxies()

    # not before the settings are known to work: these take seconds to load
    from agent.runner import AgentRunner  # noqa: PLC0415
    from worker.engine import Engine  # noqa: PLC0415
    from worker.executor import Executor  # noqa: PLC0415
    from worker.metrics_server import MetricsServer  # noqa: PLC0415
    from worker.quarantine import Parent, QuarantineEngine, be_killed_first  # noqa: PLC0415

    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    host, pid = socket.gethostname(), os.getpid()
    worker_id = options.id or f"{host}-{pid}-{secrets.token_hex(4)}"
    runner, tracing = AgentRunner(settings), Tracing(settings, redact, worker_id)

    async def close(ctx: dict[Any, Any]) -> None:  # noqa: ARG001  arq's signature
        await runner.close()
        await tracing.close()

    engine_of: Callable[..., Engine] = partial(Engine, quarantine=(sys.executable, "-m", "worker"))
    slots = settings.worker_concurrency
    if options.quarantine:
        be_killed_first()
        engine_of, slots = partial(QuarantineEngine, Parent(options.quarantine[0], int(options.quarantine[1]))), 1
    engine = engine_of(
        settings,
        Executor(runner, tracing),
        WorkerInfo(worker_id, host, pid, VERSION, slots, 0, quarantine=bool(options.quarantine)),
        models,
        rules=rules,
        redact=redact,
        prepare=runner.prepare,
        on_shutdown=close,
    )
    if not options.quarantine:  # a quarantine worker counts, and its parent shows it
        MetricsServer(settings, options.metrics_fd).start()
    try:
        engine.run()
    except ConfigurationError as error:
        sys.stderr.write(f"The configuration does not work: {error}\n")
        return EXIT_CONFIGURATION
    return 0


if __name__ == "__main__":
    log_what_ends_it()
    code = main()
    logging.shutdown()
    # Everything is closed. To take down the LLM libraries' modules one by one costs seconds, of every stop and restart.
    os._exit(code)
