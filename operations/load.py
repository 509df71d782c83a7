"""Loads a running Longhaul with users who submit, poll, wait, stream and chat: docs/load.md.

It asks the system that runs here, or --host, and shows how it goes in a line every few seconds. Ctrl-C ends it early,
with its figures. Report, figures and CSV files stay in VAR_DIR/load/<time>/.

    manage.py load --users 200 --run-time 2m
    manage.py load --users 50 --only chat,stream --message "[[tokens=200]] hello"

Exit codes: 0 nothing failed, 1 something failed, 2 wrong usage, 3 nothing was asked, 4 there is nothing to load,
130 Ctrl-C.
"""

import argparse
import contextlib
import datetime as dt
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from core_config import ROOT, is_loopback, keep_loopback_off_proxies, nearest
from longhaul_client import LonghaulError
from operations import configuration
from operations.argument_types import count, seconds
from operations.client import explained, gateway, key_of
from operations.errors import CommandError
from operations.ports import free_port
from operations.terminal import plain, table

WAYS: Final = {"poll": 3, "wait": 3, "events": 1, "stream": 1, "chat": 2}
"""What users do, and the weights that loadtest/locustfile.py has for it."""

_NOTHING_ASKED, _NOTHING_THERE = 3, 4
_FINISH_SECONDS = 20
"""How long those who wait for an answer at the end may go on: else the slowest would be left out of the figures."""
_TIME = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--users", type=count, default=20, help="users at once (default: %(default)s)")
    add("--run-time", type=_run_time, default=60, metavar="TIME", help="such as 90, 30s, 2m, 1h30m (default: 1m)")
    add("--spawn-rate", type=seconds, metavar="NUMBER", help="new users a second (default: all within five seconds)")
    add("--host", metavar="URL", help="another gateway than this machine's")
    add("--key", metavar="KEY|@FILE", help="API key, or the file that holds it")
    add("--processes", type=count, help="processes that the users are spread over (default: one)")
    add("--only", metavar="WAYS", help=f"users of these kinds alone, of {', '.join(WAYS)}")
    for way, weight in WAYS.items():
        add(f"--weight-{way}", type=_weight, metavar="NUMBER", help=f"(default: {weight})")
    add("--message", help='what is asked (default: "Compute 6 * 7")')
    add("--model", help="model that tasks name")
    add("--agent", help="agent that tasks name")
    add("--poll-every", type=seconds, metavar="SECONDS", help="between two polls (default: 1)")
    add("--pause", type=_pause, metavar="SECONDS", help="from an answer to the next question, on average (default: 1)")
    add("--task-timeout", type=seconds, metavar="SECONDS", help="until a task counts as lost (default: 120)")
    add("--progress-every", type=seconds, metavar="SECONDS", help="between two lines (default: 5)")
    add("--i-may-load-this-host", action="store_true", help="for a --host that is not this machine")
    add("--i-pay-for-the-model", action="store_true", help="for a model that is not simulated")


def run(arguments: argparse.Namespace) -> int:
    weights = _weights(arguments)
    host = (arguments.host or configuration.gateway_url(configuration.load())).rstrip("/")
    address = urlsplit(host)
    if address.scheme not in {"http", "https"} or not address.hostname:
        raise CommandError(f"--host {host} is no address such as http://127.0.0.1:8000.", code=2)
    if not is_loopback(address.hostname) and not arguments.i_may_load_this_host:
        raise CommandError(
            f"{host} is not this machine: {arguments.users} users may be more than it can bear, and its owner may not "
            "want them. If you may load it, say so with --i-may-load-this-host.",
            code=2,
        )
    if importlib.util.find_spec("locust") is None:
        raise CommandError(f"Locust is not installed for {sys.executable}: install requirements.lock, which has it.")
    key = None if arguments.key is None else key_of(arguments.key)
    _demand(host, key, arguments)
    folder = _folder(configuration.var_dir())
    keep_loopback_off_proxies()
    print(f"Loading {host} with {arguments.users} users for {arguments.run_time} s. Ctrl-C ends it early.", flush=True)
    code = _locust(_command(arguments, weights, host, folder), _environment(key), folder)
    return _told(folder, code)


def _weights(arguments: argparse.Namespace) -> dict[str, int]:
    """By kind of user. CommandError when there would be nobody."""
    only = [way.strip() for way in (arguments.only or ",".join(WAYS)).split(",")]
    for way in only:
        if way not in WAYS:
            raise CommandError(f"--only {arguments.only}: no users {way!r}. {nearest(way, [*WAYS])}.", code=2)
    given = {way: getattr(arguments, f"weight_{way}") for way in WAYS}
    weights = {way: (WAYS[way] if given[way] is None else given[way]) if way in only else 0 for way in WAYS}
    if not any(weights.values()):
        raise CommandError("every weight is 0, so there is nobody to ask: give one above 0.", code=2)
    return weights


def _demand(host: str, key: str | None, arguments: argparse.Namespace) -> None:
    """CommandError unless something answers there with this key, and on a model that costs nothing or may cost."""
    with gateway(host, key, retry_for_s=0) as client:
        try:
            models = client.request("GET", "/models").json()["models"]
        except LonghaulError as error:
            raise CommandError(str(explained(error, client)), code=_NOTHING_THERE) from None
        except (KeyError, TypeError, ValueError):
            raise CommandError(f"what answers at {host} is no Longhaul.", code=_NOTHING_THERE) from None
    wanted = [model for model in models if (model["name"] == arguments.model if arguments.model else model["active"])]
    if not wanted:
        near = nearest(arguments.model or "", [model["name"] for model in models])
        raise CommandError(f"--model {arguments.model}: there is no such model. {near}.", code=2)
    if not wanted[0]["simulated"] and not arguments.i_pay_for_the_model:
        raise CommandError(
            f"{wanted[0]['name']} is a real model: every answer would be paid for. Name a simulated one (--model), or "
            "say --i-pay-for-the-model.",
            code=2,
        )


def _folder(var_dir: Path) -> Path:
    """A new one, named by the time. CommandError: VAR_DIR is not usable."""
    now = dt.datetime.now().astimezone().strftime("%Y-%m-%dT%H-%M-%S")
    try:
        (var_dir / "load").mkdir(parents=True, exist_ok=True)
        for number in range(1, 1000):
            folder = var_dir / "load" / (now if number == 1 else f"{now}-{number}")
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
    except OSError as error:
        raise CommandError(f"cannot write to VAR_DIR={var_dir}: {error.strerror}. Mend that or set VAR_DIR.") from None
    raise CommandError(f"{var_dir / 'load'} holds a thousand runs of this second.")


def _command(arguments: argparse.Namespace, weights: dict[str, int], host: str, folder: Path) -> list[str]:
    options: dict[str, Any] = {
        "locustfile": ROOT / "loadtest" / "locustfile.py",
        "host": host,
        "users": arguments.users,
        "spawn-rate": arguments.spawn_rate or max(1.0, arguments.users / 5),
        "run-time": f"{arguments.run_time}s",
        "stop-timeout": _FINISH_SECONDS,
        "html": folder / "report.html",
        "csv": folder / "figures",
        "summary-file": folder / "summary.json",
        "json-file": folder / "locust",  # .json: in place of Locust's tables on the terminal
        "loglevel": "WARNING",
        **{f"weight-{way}": weight for way, weight in weights.items()},
    }
    for name in ("message", "model", "agent", "poll_every", "pause", "task_timeout", "progress_every"):
        if (value := getattr(arguments, name)) is not None:
            options[name.replace("_", "-")] = value
    if arguments.processes:
        port = free_port()
        options |= {"processes": arguments.processes, "expect-workers-max-wait": 60, "master-bind-host": "127.0.0.1"}
        options |= {"master-bind-port": port, "master-port": port}
    # with `=`, so that a message may begin with a dash
    words = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "locust", "--headless", "--only-summary", *words]


def _environment(key: str | None) -> dict[str, str]:
    """Without what Locust would take for its options; the key goes here, where a list of processes doesn't show it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LOCUST_", "LOAD_"))}
    return {**kept, **({"LOAD_API_KEY": key} if key else {})}


def _locust(command: list[str], environment: dict[str, str], folder: Path) -> int:
    """Locust's exit code, or 130 after Ctrl-C, which this process alone gets and hands on: Locust then writes its
    report. Locust patches all of Python's networking, so it runs in a process of its own.
    """
    with (folder / "locust.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stderr=log, start_new_session=True
        )
        try:
            return process.wait()
        except KeyboardInterrupt:
            print("Ending; those who wait for an answer may get it. Ctrl-C again ends at once.", flush=True)
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_FINISH_SECONDS + 30)
            return 130
        finally:
            # with --processes it has children of its own, which a busy machine lets linger
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _told(folder: Path, code: int) -> int:
    try:
        figures = json.loads((folder / "summary.json").read_text())
    except (OSError, ValueError):
        said = (folder / "locust.log").read_text().strip().splitlines()
        raise CommandError(f"Locust ended with {code}: {said[-1] if said else 'without a word'} ({folder})") from None
    rows, failures = figures["rows"], figures["failures"]
    print()
    table(
        (" ", ">count", ">failed", ">a second", ">p50 ms", ">p95 ms", ">p99 ms", ">most ms"),
        [
            (
                f"{row['kind']} {row['name']}", str(row["count"]), str(row["failures"]), f"{row['rate']:.1f}",
                *(f"{row[name]:.0f}" for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms")),
            )
            for row in rows
        ],
    )  # fmt: skip
    if failures:
        print()
        table(
            ("failure", ">times", "of"),
            [(plain(f["what"], 80), str(f["count"]), f"{f['kind']} {f['name']}") for f in failures],
        )
    print(f"\n{figures['seconds']:.0f} s. Report: {folder / 'report.html'}")
    if code == 130:
        return 130
    if not rows:
        return _NOTHING_ASKED
    return 1 if failures or code else 0


def _run_time(text: str) -> int:
    found = _TIME.fullmatch(text)
    hours, minutes, rest = (int(part or 0) for part in found.groups()) if found and text else (0, 0, 0)
    if not 1 <= (total := hours * 3600 + minutes * 60 + rest) <= 604_800:
        raise argparse.ArgumentTypeError(f"expected a time such as 90, 30s, 2m or 1h30m, got {text!r}")
    return total


def _weight(text: str) -> int:
    if not text.isdecimal() or int(text) > 1_000_000:
        raise argparse.ArgumentTypeError(f"expected an integer of 0 or more, got {text!r}")
    return int(text)


def _pause(text: str) -> float:
    return 0.0 if text == "0" else seconds(text)
