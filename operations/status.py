"""What runs: processes, queue, workers, Redis, model.

Exit codes: 0 running and ready, 1 running but not as it should, 3 not running.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Iterable
from typing import Any

import httpx
import psutil

from core_config import ConfigurationError, Settings, load_registry
from operations import agents, configuration, redis_check, runstate, terminal
from operations.errors import CommandError

NOT_RUNNING = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> int:
    var_dir = configuration.var_dir()
    state = runstate.running(var_dir)
    if state is None:
        print(json.dumps({"running": False}) if arguments.json else f"Longhaul is not running (VAR_DIR {var_dir}).")
        return NOT_RUNNING
    try:
        settings, wrong = configuration.load(), []
    except CommandError as error:  # what runs was started with other settings, and is what is asked about
        settings, wrong = configuration.with_defaults(), [str(error)]
    report = gather(settings, state, wrong)
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        show(report)
    return 0 if report["ready"] and not report["problems"] else 1


def gather(settings: Settings, state: runstate.RunState, wrong: Iterable[str] = ()) -> dict[str, Any]:
    """All that `status` knows, for JSON: times in seconds, memory in bytes. `problems` is empty when all is well;
    `wrong` are those of the settings. `simulated` is null when the models file cannot be read.
    """
    problems = [*wrong]
    if state.phase != "running":
        problems.append(f"it is {state.phase}")
    url = agents.redis_url(settings, state)
    redis: dict[str, Any] = {"url": state.redis_url, "private": state.redis_is_private}
    queue: dict[str, Any] | None = None
    try:
        facts = redis_check.check(url)
        redis |= {"version": facts.version, "memory_bytes": facts.memory_bytes, "durability": facts.durability}
        queue = dataclasses.asdict(agents.overview(settings, url))
    except CommandError as error:
        problems.append(str(error))
    except Exception as error:  # noqa: BLE001 a store that fails in any way is a fact to report
        problems.append(f"the queue cannot be read: {error}")
    workers, said, paused, cooling = (
        [queue.pop(name) for name in ("workers", "agents", "paused", "cooling")] if queue else [None] * 4
    )
    problems += [f"agent {name!r}: {word['problem']}" for name, word in (said or {}).items() if word["problem"]]
    if state.reload_failure:
        problems.append(f"the last change of the agents' code is not running: {state.reload_failure}")
    ready, answer = _ready(state.gateway_url)
    if not ready:
        problems.append(f"{state.gateway_url}/ready says: {answer}")
    processes = [_process(record, state.token) for record in (state.supervisor, *state.processes)]
    try:
        simulated = _is_simulated(settings, state.model)
    except ConfigurationError as error:
        problems.append(str(error))
        simulated = None
    problems += [f"{found['name']} is down ({found['ended']})" for found in processes if not found["alive"]]
    return {
        "running": True,
        "ready": ready,
        "problems": problems,
        "gateway": state.gateway_url,
        "metrics": {"gateway": f"{state.gateway_url}/metrics", "workers": state.workers_metrics_url or None},
        "model": state.model,
        "simulated": simulated,
        "redis": redis,
        "queue": queue,
        "workers": workers,
        "agents": said,
        "paused": paused,
        "cooling": cooling,
        "reload": state.reload,
        "processes": processes,
        "var_dir": str(settings.var_dir),
    }


def show(report: dict[str, Any]) -> None:
    print(f"Longhaul {'is ready' if report['ready'] else 'is NOT ready'} at {report['gateway']}")
    for problem in report["problems"]:
        print(f"  ! {problem}")
    simulated = "  SIMULATED: answers are made up, no language model runs" if report["simulated"] else ""
    print(f"Model   {report['model']}{simulated}")
    if report["agents"]:
        names = [
            name + ("" if word["problem"] is None else " (NOT available)") for name, word in report["agents"].items()
        ]
        print(f"Agents  {', '.join(names)}")
    if report["reload"]:
        print("Reload  on: a change of the agents' code replaces the workers")
    redis = report["redis"]
    whose = "private" if redis["private"] else "yours"
    print(f"Redis   {redis['url']} ({whose})", end="")
    print(f", {redis['version']}, {terminal.megabytes(redis['memory_bytes'])}" if "version" in redis else "")
    if "durability" in redis:
        print(f"        {redis['durability']}")
    pages = report["metrics"]
    print(f"Metrics {pages['gateway']}, workers: {pages['workers'] or 'none (WORKER_METRICS_PORT=0)'}")
    if report["queue"]:
        print("Queue   " + ", ".join(f"{count} {name}" for name, count in report["queue"].items()))
    for one in report["paused"] or ():
        for_s = terminal.duration(one["for_ms"] / 1000)
        print(f"Paused  {one['kind']} {terminal.plain(one['name'], 60)}, for {for_s}: its tasks are not started")
    for one in report["cooling"] or ():
        again = f"in {terminal.duration(one['left_ms'] / 1000)}" if one["left_ms"] else "now"
        name = terminal.plain(one["model"], 60)
        print(f"Cooling model {name}: it failed ({one['error_code']}); one task tries it again {again}")
    print()
    terminal.table(
        ("PROCESS", ">PID", ">UP", ">MEMORY", ">RESTARTS"),
        [
            (
                found["name"] + (" (ending)" if found["retiring"] else ""),
                str(found["pid"]),
                terminal.duration(found["uptime_s"]) if found["alive"] else "down",
                terminal.megabytes(found["memory_bytes"]),
                str(found["restarts"]),
            )
            for found in report["processes"]
        ],
    )
    if report["workers"] is not None:
        print()
        terminal.table(
            ("WORKER", "HOST", ">PID", ">SLOTS", "VERSION", ">SEEN"),
            [
                (
                    found["id"],
                    found["host"],
                    str(found["pid"]),
                    "quarantine" if found["quarantine"] else str(found["slots"]),
                    found["version"],
                    f"{found['last_seen_ms'] / 1000:.1f} s ago",
                )
                for found in report["workers"]
            ],
        )


def _ready(url: str) -> tuple[bool, str]:
    try:
        with httpx.Client(trust_env=False, timeout=5) as client:
            response = client.get(f"{url}/ready")
    except httpx.HTTPError as error:
        return False, str(error) or type(error).__name__
    return response.status_code == httpx.codes.OK, f"{response.status_code} {response.text[:200]}"


def _process(record: runstate.ProcessRecord, token: str) -> dict[str, Any]:
    alive, memory = runstate.is_ours(record, token), None
    if alive:
        try:
            memory = psutil.Process(record.pid).memory_info().rss
        except psutil.Error:
            alive = False
    return {
        "name": record.name,
        "role": record.role,
        "pid": record.pid,
        "alive": alive,
        "uptime_s": round(time.time() - record.created, 1) if alive else 0.0,
        "memory_bytes": memory,
        "restarts": record.restarts,
        "ended": record.ended,
        "retiring": record.retiring,
    }


def _is_simulated(settings: Settings, model: str) -> bool:
    config = load_registry(settings).get(model)
    return config is not None and config.simulated
