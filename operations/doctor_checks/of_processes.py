"""What `manage.py start` runs: whether it is all there, runs with the settings of now, and answers."""

from collections.abc import Iterator

import httpx

from core_config import Settings
from operations import configuration, runstate
from operations.doctor_checks.finding import Check, Finding, failure, ok, warning
from operations.doctor_checks.situation import Situation
from operations.errors import CommandError

ANSWER_SECONDS = 5.0


def find(situation: Situation) -> Iterator[Finding]:
    state = situation.state
    if state is None:
        yield _nothing_runs(situation)
        yield ok(Check.IN_FORCE, "nothing runs: the next start takes the settings of now")
        yield ok(Check.GATEWAY, "manage.py runs none here")
        return
    yield from _processes(state)
    yield _in_force(situation.settings, state)
    yield _gateway(state.gateway_url)


def _nothing_runs(situation: Situation) -> Finding:
    left, var_dir = situation.left, situation.settings.var_dir
    if left is None:
        return ok(Check.PROCESSES, f"nothing runs from {var_dir}")
    if left.failure:
        return failure(
            Check.PROCESSES,
            f"what ran from {var_dir} ended: {left.failure}",
            "mend that, then python3 manage.py start. python3 manage.py logs has the rest.",
        )
    if alone := situation.orphans:
        return failure(
            Check.PROCESSES,
            f"the supervisor (pid {left.supervisor.pid}) was killed, and {', '.join(alone)} go on with nobody to keep "
            "them up",
            "python3 manage.py start ends them and starts anew; python3 manage.py stop only ends them.",
        )
    return failure(
        Check.PROCESSES,
        f"what ran from {var_dir} was killed (its supervisor had the pid {left.supervisor.pid}); nothing of it is left",
        "python3 manage.py start; or python3 manage.py stop, if it is not to run.",
    )


def _processes(state: runstate.RunState) -> Iterator[Finding]:
    if state.phase != "running":
        yield warning(Check.PROCESSES, f"it is {state.phase}", "wait, then look again.")
    down = [record for record in state.processes if not record.retiring and not runstate.is_ours(record, state.token)]
    for record in down:
        yield failure(
            Check.PROCESSES,
            f"{record.name} is down ({record.ended or 'it ended just now'})",
            f"it is started again by itself; python3 manage.py logs {record.name} says why it ends.",
        )
    for record in state.processes:
        if record.restarts and record not in down:
            yield warning(
                Check.PROCESSES,
                f"{record.name} has died {record.restarts} times (last: {record.ended})",
                f"python3 manage.py logs {record.name} says why.",
            )
    if state.reload_failure:
        yield warning(
            Check.PROCESSES,
            f"the last change of the agents' code is not running: {state.reload_failure}",
            "correct it: the next change is tried again.",
        )
    if not down:
        yield ok(Check.PROCESSES, f"{len(state.processes) + 1} are up, from {state.supervisor.name} on")


def _in_force(settings: Settings, state: runstate.RunState) -> Finding:
    """A start or restart reads the settings; what was changed since then is not in force."""
    try:
        model = configuration.active_model(settings)
    except CommandError:
        model = state.model  # which `active-model` is about
    changed = [
        name
        for name, differs in {
            "REDIS_URL": state.redis_source != configuration.redis_source(settings),
            "GATEWAY_HOST or GATEWAY_PORT": state.gateway_url != configuration.gateway_url(settings),
            "the active model": state.model != model,
            "WORKER_PROCESSES": _count(state, "worker") != settings.worker_processes,
            "GATEWAY_PROCESSES": _count(state, "gateway") != settings.gateway_processes,
        }.items()
        if differs and state.phase == "running"
    ]
    if not changed:
        return ok(Check.IN_FORCE, "what runs was started with these settings")
    return warning(
        Check.IN_FORCE,
        f"what runs was started with another {', another '.join(changed)}",
        "python3 manage.py restart takes it over (stop and start for REDIS_URL, GATEWAY_HOST and GATEWAY_PORT).",
    )


def _count(state: runstate.RunState, role: str) -> int:
    return sum(record.role == role and not record.retiring for record in state.processes)


def _gateway(url: str) -> Finding:
    try:
        with httpx.Client(trust_env=False, timeout=ANSWER_SECONDS) as client:
            response = client.get(f"{url}/ready")
    except httpx.HTTPError as error:
        return failure(
            Check.GATEWAY,
            f"{url} does not answer ({str(error) or type(error).__name__})",
            "python3 manage.py logs gateway-1 says why; python3 manage.py restart replaces it.",
        )
    ms = response.elapsed.total_seconds() * 1000
    if response.status_code == httpx.codes.OK:
        return ok(Check.GATEWAY, f"{url} is ready", ms)
    return failure(
        Check.GATEWAY,
        f"{url}/ready answers {response.status_code}: {reasons(response)}",
        "see the lines about Redis and the workers.",
        ms,
    )


def reasons(response: httpx.Response) -> str:
    """Of an answer of `/ready`: what is not as it should be."""
    try:
        checks = response.json()["checks"]
        return " ".join(f"{name}: {check['detail']}" for name, check in checks.items() if not check["ok"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200]
