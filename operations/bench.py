"""Measures Longhaul beside its peers on this machine, and says where the goals of docs/performance.md are reached.

It starts everything itself, on loopback, with data in a folder of its own: a Redis, Longhaul with default settings and
API keys, and the peers, which it installs once into VAR_DIR/bench. A system that runs already is left alone, but
takes its share of the machine. Contenders take turns, round by round; what counts are the ratios.

    manage.py bench                                  all rows, three rounds
    manage.py bench --list                           which rows there are
    manage.py bench --rows noop,pickup --rounds 5    some of them
    manage.py bench --save before.json               keeps what was found
    manage.py bench --compare before.json            marks what is worse than then, by 10 and by 20 percent

Exit codes: 0 measured; 1 something of Longhaul's could not be measured, or is worse by 20 percent than in the saved
run; 2 wrong usage; 130 Ctrl-C, after the tables of what was measured until then.
"""

import argparse
import asyncio
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from core_config import ROOT, keep_loopback_off_proxies
from loadtest.bench import catalogue, comparison, harness, page, saved, stage, tables, verdicts
from loadtest.bench.study import Study
from operations import configuration, embedded_redis, peers_environment
from operations.argument_types import count
from operations.errors import CommandError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", help="rows or studies to measure, separated by commas (default: all)")
    parser.add_argument("--only", help="contenders, separated by commas (default: all)")
    parser.add_argument("--rounds", type=count, default=3, help="visits to each contender (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="the rows, and how each is measured")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write what was found, as JSON")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="a saved run to compare with")
    parser.add_argument("--page", type=Path, metavar="FILE", help="the charts (default: VAR_DIR/bench/bench.html)")
    parser.add_argument("--markdown", action="store_true", help="one line a row, for docs/performance.md")
    parser.add_argument("--long", action="store_true", help="wait for what a quick run gives up on, and the long rows")


def run(arguments: argparse.Namespace) -> int:
    try:
        studies = catalogue.chosen(_words(arguments.rows), _words(arguments.only), long=arguments.long)
        before = saved.read(arguments.compare) if arguments.compare else None
    except catalogue.UnknownNameError as error:
        raise CommandError(str(error), code=2) from None
    except saved.SavedRunError as error:
        raise CommandError(f"{error}.", code=2) from None
    if arguments.list:
        print(listed(studies))
        return 0
    keep_loopback_off_proxies()
    record, interrupted, commit = harness.Record(), False, saved.commit_of(ROOT)
    try:
        with tempfile.TemporaryDirectory(prefix="longhaul-bench-") as folder:
            _measure(Path(folder), studies, arguments, record)
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("manage.py bench: interrupted; this was measured until then.", file=sys.stderr)
        interrupted = True
    found = saved.made_of(record, _command(arguments), commit, _versions())
    code = _report(found, before, studies, arguments)
    return 130 if interrupted else code


def _report(
    found: saved.Saved, before: saved.Saved | None, studies: Sequence[Study], arguments: argparse.Namespace
) -> int:
    now = verdicts.verdicts_of(studies, found.samples)
    changes: list[comparison.Change] = []
    print(tables.markdown(now) if arguments.markdown else tables.terminal(now, found.failures))
    if before is not None:
        same = (before.machine, before.cores) == (found.machine, found.cores)
        changes = comparison.changes(verdicts.verdicts_of(studies, before.samples), now, same_machine=same)
        print(f"\n{tables.compared(changes)}")
    html = arguments.page or configuration.var_dir().absolute() / "bench" / "bench.html"
    try:
        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(page.page(found, now, changes))
        if arguments.save:
            saved.write(arguments.save, found)
    except OSError as error:
        raise CommandError(f"cannot write {error.filename}: {error.strerror}") from None
    print(f"\nCharts: {html}{f'; saved: {arguments.save}' if arguments.save else ''}")
    ours = {one.name for study in studies for one in study.contenders if one.kind in {"ours", "variant"}}
    failed = any(failure.contender in ours for failure in found.failures)
    return 1 if failed or any(one.word == "much worse" and not one.overlap for one in changes) else 0


def _command(arguments: argparse.Namespace) -> str:
    words = [f"--{name} {value}" for name in ("rows", "only", "rounds") if (value := getattr(arguments, name))]
    return " ".join(["manage.py bench", *words, *(["--long"] if arguments.long else [])])


def _versions() -> dict[str, str]:
    """Of Redis, of ours that are peers too, and of the peers."""
    return saved.versions(peers_environment.LOCK.with_suffix(".in"), {"Redis": redis_version(), "arq": version("arq")})


def _words(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def listed(studies: Sequence[Study]) -> str:
    lines = []
    for study in studies:
        lines.append(f"{study.key}: {', '.join(one.name for one in study.contenders)}")
        lines += [f"  {row.key:<16} {row.title}, {row.unit}. {row.measured_by}".rstrip() for row in study.rows]
    return "\n".join(lines)


def _measure(folder: Path, studies: Sequence[Study], arguments: argparse.Namespace, record: harness.Record) -> None:
    server = embedded_redis.find_server()
    peers = peers_environment.python(configuration.var_dir())
    if any(one.peers_environment for study in studies for one in study.contenders):
        peers_environment.make(peers)
    means = stage.Means(
        longhaul=copy_of_the_project(folder / "longhaul"),
        python=Path(sys.executable),
        peers_python=peers,
        redis_command=lambda port, home: [str(server), *embedded_redis.server_arguments(port, home)],
        long=arguments.long,
    )

    async def all_of_it() -> None:
        if task := asyncio.current_task():
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        async with stage.theatre(means, folder) as theatre:
            await harness.measure(
                theatre, studies, arguments.rounds, record, lambda line: print(line, file=sys.stderr, flush=True)
            )

    asyncio.run(all_of_it())


def copy_of_the_project(into: Path) -> Path:
    """Longhaul without `.env`, so that it is measured as shipped."""
    into.mkdir(parents=True)
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"]
    for name in packages:
        shutil.copytree(ROOT / name, into / name)
    for path in [*ROOT.glob("*.py"), *ROOT.glob("*.toml"), *ROOT.glob("requirements*.lock")]:
        shutil.copy2(path, into)
    return into


def redis_version() -> str:
    server = embedded_redis.find_server()
    said = subprocess.run([str(server), "--version"], capture_output=True, text=True, timeout=10).stdout
    found = re.search(r"v=([\d.]+)", said)
    return f"{server.name} {found[1] if found else '?'}"
