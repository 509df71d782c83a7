"""Breaks a private Longhaul while it works, and says whether anything was lost: docs/reliability.md.

It starts a system of its own (Redis, simulated model, two gateways, three workers) on free ports, with its data in a
folder of its own; one that runs already, and the Redis of REDIS_URL, are left alone. Clients submit, poll, cancel and
submit twice, while every few seconds something is killed, stopped or cut off. At the end stands one table.

    manage.py chaos                                  Longhaul itself, with an agent made for it
    manage.py chaos --agent NAME --message "..."     an agent of your AGENTS_FILE, on the simulated model

Exit codes: 0 nothing was wrong, 1 something was, 2 wrong usage or settings, 3 it was no run (too little was in flight
when faults struck), 4 the system did not start, 130 Ctrl-C.
"""

import argparse
import os
import signal
import subprocess
import sys
from typing import Final

from dotenv import dotenv_values
from pydantic import ValidationError

from agents_config import load_agents
from core_config import ENV_FILE, ROOT, SIMULATOR, ConfigurationError, Settings, keep_loopback_off_proxies, nearest
from operations.argument_types import count, seconds
from operations.errors import CommandError

OURS: Final = ("plain", "real")
"""Agents that come with the kit: one of httpx and LangGraph alone, and LangChain's on LiteLLM."""

_OWN_AGENT: Final = "CHAOS_OWN_AGENT"  # tests/chaos/__main__.py reads it
_NOT_HANDED_ON: Final = (
    "REDIS_URL", "KEY_PREFIX", "GATEWAY_HOST", "GATEWAY_PORT", "API_KEYS", "API_KEYS_FILE", "SIMULATOR_PORT", "VAR_DIR",
    "ACTIVE_MODEL_KEY", "LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY", "LANGFUSE_HOST", "LANGFUSE_BASE_URL",
    "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS",
)  # fmt: skip
_SECONDS_TO_END: Final = 30.0
_KIT: Final = ROOT / "tests" / "chaos"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tasks", type=count, default=1000, help="tasks to submit (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed, the same faults (default: %(default)s)")
    parser.add_argument("--every", type=seconds, default=3.0, help="seconds between faults (default: %(default)s)")
    parser.add_argument("--agent", default="plain", help=f"{', '.join(OURS)}, or one of yours (default: %(default)s)")
    parser.add_argument("--message", help="what each task says, for an agent of yours")
    parser.add_argument("--model", default=SIMULATOR, help="only the Simulator: every task is run, and some twice")
    parser.add_argument("--keep", help="a new folder for journals and logs, which then stay")


def run(arguments: argparse.Namespace) -> int:
    if arguments.model != SIMULATOR:
        raise CommandError(
            f"chaos runs on the {SIMULATOR} only, not on {arguments.model!r}: it makes the model fail, reads its "
            "journal of calls, and would pay for thousands of them.",
            code=2,
        )
    if not _KIT.is_dir():
        raise CommandError(f"the kit is not here: {_KIT} is a part of Longhaul's repository.")
    environment = dict(os.environ)
    if arguments.agent not in OURS:
        environment = {**_users_own(arguments.agent), _OWN_AGENT: "1"}
        print(
            f"{arguments.agent!r} is no agent of the kit's: what its tools do and which step a model call belongs to "
            "is not known here, so that is not checked. No task of it ends its process or hangs on purpose.",
            flush=True,
        )
    elif arguments.message is not None:
        raise CommandError(f"--message is for an agent of yours; {arguments.agent} has its own.", code=2)
    keep_loopback_off_proxies()
    options = {"tasks": arguments.tasks, "seed": arguments.seed, "every": arguments.every, "agent": arguments.agent}
    options |= {name: value for name, value in (("keep", arguments.keep), ("message", arguments.message)) if value}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    code = _in_a_session_of_its_own([sys.executable, "-m", "tests.chaos", *words], environment)
    again = " ".join(f"--{name} {value!r}" for name, value in options.items() if name != "keep")
    print(f"\nThe same faults again: manage.py chaos {again}")
    return code


def _users_own(agent: str) -> dict[str, str]:
    """The environment that the agent lives in: `.env` and the variables of now, but for what would lead out of the
    private system. Raises CommandError when there is no such agent.
    """
    try:
        known = load_agents(Settings()).agents
    except (ConfigurationError, ValidationError) as error:
        raise CommandError(str(error), code=2) from None
    if agent not in known:
        raise CommandError(f"there is no agent {agent!r}. {nearest(agent, [*OURS, *known])}.", code=2)
    written = {name: value for name, value in dotenv_values(ENV_FILE).items() if value} if ENV_FILE.is_file() else {}
    return {name: value for name, value in {**written, **os.environ}.items() if name not in _NOT_HANDED_ON}


def _in_a_session_of_its_own(command: list[str], environment: dict[str, str]) -> int:
    """A terminal's Ctrl-C comes to this process alone, which hands it on once and waits for all to end."""
    process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
    try:
        return process.wait()
    except BaseException:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_SECONDS_TO_END)
        finally:  # its nursery ends what is left, however it ends
            process.kill()
        raise
