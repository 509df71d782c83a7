"""Starts Longhaul and waits until it is ready to take tasks.

Runs Redis (a private one unless REDIS_URL is set), the simulated model, gateway and workers under a supervisor that
keeps them up, and comes back when `GET /ready` says yes. Exit codes: 0 it runs, or ran already; 1 it does not, and
whatever had been started is stopped again; 130 Ctrl-C, likewise.
"""

import argparse
import subprocess
import sys
import time

import httpx

from core_config import Settings
from operations import agents, configuration, embedded_redis, launch, logfiles, ports, redis_check, runstate, welcome
from operations.errors import CommandError
from operations.supervisor import ALREADY_RUNNING

_QUICK_DEATHS = 3  # of one process before it is ready: it will not come up


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_wait(parser)
    parser.add_argument(
        "--reload", action="store_true", help="for development: replace the workers when the agents' code changes"
    )


def add_wait(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--wait", type=float, default=60.0, metavar="SECONDS", help="how long to wait until it is ready (60)"
    )


def run(arguments: argparse.Namespace) -> int:
    settings = configuration.load()
    state = runstate.running(settings.var_dir)
    if state:
        print(f"Longhaul is running already (pid {state.supervisor.pid}, {state.gateway_url}); nothing was started.")
        if arguments.reload and not state.reload:
            print("It does not follow the agents' code. For that: stop, then start --reload.", file=sys.stderr)
        return 0
    for warning in configuration.misspelt():
        print(f"Warning: {warning}", file=sys.stderr)
    check(settings)
    process = launch.supervisor(settings.var_dir, reload=arguments.reload)
    try:
        _wait_started(settings, process)
        wait_ready(settings, arguments.wait)
    except (CommandError, KeyboardInterrupt):
        if process.poll() != ALREADY_RUNNING:
            print("Stopping what was started ...", file=sys.stderr, flush=True)
            launch.stop(settings.var_dir, lambda _: None, now=True)
        raise
    state = runstate.running(settings.var_dir)
    if state is None:
        raise CommandError("it was stopped again while it started.")
    print(welcome.text(settings, state, _durability(settings.redis_url or state.redis_url)), flush=True)
    agents.warn(settings, state)
    return 0


def check(settings: Settings, *, port_is_ours: bool = False) -> None:
    """CommandError when a start cannot succeed. `port_is_ours`: the gateway that holds the port is about to stop."""
    configuration.check(settings)
    if not port_is_ours:
        ports.listen(settings.gateway_host, settings.gateway_port).close()
    if settings.redis_url is None:
        embedded_redis.find_server()
    else:
        facts = redis_check.check(settings.redis_url, lambda line: print(line, flush=True))
        if facts.warning:
            print(f"Warning: {facts.warning}", file=sys.stderr)


def _durability(url: str) -> str:
    try:
        facts = redis_check.probe(url)
    except CommandError:  # it answered a moment ago; what becomes of it is the supervisor's business
        return ""
    return facts.durability if facts else ""


def _wait_started(settings: Settings, process: "subprocess.Popen[bytes]") -> None:
    """Until the supervisor has started everything; it bounds that itself."""
    print("Starting Longhaul ...", flush=True)
    told: set[str] = set()
    while process.poll() is None:
        state = runstate.read(settings.var_dir)
        if state and state.supervisor.pid == process.pid:
            for record in state.processes:
                if record.name not in told:
                    told.add(record.name)
                    print(f"  {record.name} (pid {record.pid})", flush=True)
            if state.phase == "running":
                return
        time.sleep(0.05)
    if process.returncode == ALREADY_RUNNING:
        raise CommandError("another start is under way in this VAR_DIR; see manage.py status.")
    state = runstate.read(settings.var_dir)
    runstate.forget(settings.var_dir)
    if state and state.failure:
        raise CommandError(state.failure)
    why = logfiles.ending(settings.var_dir, "supervisor")
    raise CommandError(f"the supervisor ended (exit code {process.returncode}). {why}")


def wait_ready(settings: Settings, seconds: float) -> None:
    """Until `GET /ready` answers 200. CommandError with the log of what keeps dying, or of what keeps it waiting."""
    url = configuration.gateway_url(settings)
    begun = time.monotonic()
    told_at, answer = begun, "no answer"
    with httpx.Client(trust_env=False, timeout=5) as client:
        while time.monotonic() < begun + seconds:
            try:
                response = client.get(f"{url}/ready")
            except httpx.HTTPError as error:
                answer = str(error) or type(error).__name__
            else:
                if response.status_code == httpx.codes.OK:
                    return
                answer = f"{response.status_code} {response.text[:300]}"
            _give_up_on_the_dead(settings)
            if time.monotonic() > told_at + 5:
                told_at = time.monotonic()
                print(f"  waiting until it is ready ... {told_at - begun:.0f} s", flush=True)
            time.sleep(0.1)
    raise CommandError(f"{url}/ready does not say yes within {seconds:.0f} s: {answer}. Look at manage.py logs.")


def _give_up_on_the_dead(settings: Settings) -> None:
    state = runstate.running(settings.var_dir)
    if state is None:
        raise CommandError("the supervisor has ended; its log is " + str(logfiles.directory(settings.var_dir)))
    for record in state.processes:
        if record.restarts >= _QUICK_DEATHS and not record.retiring:
            why = logfiles.ending(settings.var_dir, record.name)
            raise CommandError(f"{record.name} does not stay up ({record.ended}). {why}")
