"""Breaks everything while clients submit and poll, and says whether anything was lost: docs/reliability.md.

    python -m tests.chaos --tasks 1000 --seed 1
    python -m tests.chaos --long FOLDER

Exit codes: 0 nothing was wrong, 1 something was, 2 wrong usage, 3 it was no run (too little was in flight when faults
struck), 4 the system did not start, 130 Ctrl-C.
"""

import argparse
import asyncio
import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import uvloop

from operations.argument_types import count, seconds
from tests.chaos.journals import Evidence
from tests.chaos.long import long
from tests.chaos.processes import NotStartedError, Size
from tests.chaos.run import OURS, Options, run
from tests.chaos.system import System
from tests.chaos.table import examples, page, strikes_table, table
from tests.chaos.verdict import Verdict

WRONG, USAGE, NO_RUN, NOT_STARTED, INTERRUPTED = 1, 2, 3, 4, 130
LONGHAUL: Final = "tests.chaos.longhaul:Longhaul"
LATENCY_S, TOOL_S = 1.0, 0.6
"""Of an agent that costs more than the plain one: fewer run at once, so each has to be in its calls for longer."""
OWN_ENVIRONMENT: Final = "CHAOS_OWN_AGENT"
"""Set by `manage.py chaos` when the agent is the user's own: the environment is the user's, and is handed on."""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        if arguments.long is not None:
            return long(arguments.long)
        return once(_system(arguments.system), _options(arguments), arguments.keep, arguments.table)
    except KeyboardInterrupt:
        print("chaos: interrupted; everything that was started has ended.", file=sys.stderr)
        return INTERRUPTED


def once(system: System, options: Options, keep: Path | None, table_file: Path | None) -> int:
    """One run, in a folder of its own that goes when nothing was wrong, unless it is to be kept."""
    folder = keep or Path(tempfile.mkdtemp(prefix="longhaul-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        print(f"chaos: {folder} is not empty: it may hold another run's journals. Name a new one.", file=sys.stderr)
        return USAGE
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            evidence, verdict = runner.run(run(system, options, folder))
    except NotStartedError as error:
        print(f"chaos: {error}", file=sys.stderr)
        return NOT_STARTED
    title = f"{system.name}, agent {options.agent}, seed {options.seed}"
    report(title, evidence, verdict)
    if table_file is not None:
        table_file.write_text(page(title, evidence, verdict))
    if verdict.passed and keep is None:
        shutil.rmtree(folder)
    else:
        print(f"\njournals and logs: {folder}")
    return code_of(verdict)


def report(title: str, evidence: Evidence, verdict: Verdict) -> None:
    print(f"\n{strikes_table(evidence)}\n\n{table(title, evidence, verdict)}")
    if shown := examples(verdict):
        print(f"\n{shown}")


def code_of(verdict: Verdict) -> int:
    if any(verdict.wrongs.values()):
        return WRONG
    return 0 if verdict.enough else NO_RUN


def _system(name: str) -> System:
    module, _, attribute = name.partition(":")
    made: System = getattr(importlib.import_module(module), attribute)()
    return made


def _options(arguments: argparse.Namespace) -> Options:
    own = os.environ.get(OWN_ENVIRONMENT) == "1"
    latency_s, tool_s = (Size().latency_s, Options().tool_s) if arguments.agent == "plain" else (LATENCY_S, TOOL_S)
    return Options(
        tasks=arguments.tasks,
        seed=arguments.seed,
        every_s=arguments.every,
        agent=arguments.agent,
        words=arguments.message,
        at_once=arguments.at_once,
        most_faults=arguments.faults,
        floor=arguments.floor,
        tool_s=arguments.tool_seconds or tool_s,
        report_deaths=arguments.report_deaths,
        environment=dict(os.environ) if own else {},
        size=Size(
            workers=arguments.workers,
            gateways=arguments.gateways,
            slots=arguments.slots,
            lease_s=arguments.lease,
            latency_s=arguments.latency or latency_s,
        ),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    size, chosen = Size(), Options()
    parser.add_argument("--tasks", type=count, default=chosen.tasks, help="good tasks to submit (%(default)s)")
    parser.add_argument("--seed", type=int, default=chosen.seed, help="the same seed, the same faults (%(default)s)")
    parser.add_argument("--every", type=seconds, default=chosen.every_s, help="seconds between faults (%(default)s)")
    parser.add_argument("--faults", type=count, help="most faults (as long as there are tasks)")
    parser.add_argument("--agent", default=chosen.agent, help=f"{' or '.join(OURS)} (%(default)s)")
    parser.add_argument("--message", default=chosen.words, help="what each task says (%(default)s)")
    parser.add_argument("--at-once", type=count, default=chosen.at_once, help="tasks open at a time (%(default)s)")
    parser.add_argument(
        "--floor", type=int, default=chosen.floor, help="least in flight at all strikes together (%(default)s)"
    )
    parser.add_argument("--workers", type=count, default=size.workers, help="worker processes (%(default)s)")
    parser.add_argument("--gateways", type=count, default=size.gateways, help="gateway processes (%(default)s)")
    parser.add_argument("--slots", type=count, default=size.slots, help="tasks at once in a worker (%(default)s)")
    parser.add_argument("--lease", type=seconds, default=size.lease_s, help="LEASE_SECONDS (%(default)s)")
    parser.add_argument(
        "--latency", type=seconds, help=f"of a model call ({size.latency_s:g} for plain, {LATENCY_S:g} for any other)"
    )
    parser.add_argument("--tool-seconds", type=seconds, help=f"of a tool call ({chosen.tool_s:g} or {TOOL_S:g})")
    parser.add_argument("--report-deaths", action="store_true", help="tell the store of a worker's death at once")
    parser.add_argument("--system", default=LONGHAUL, help="what to break (%(default)s)")
    parser.add_argument("--keep", type=Path, help="folder for journals and logs, which then stay")
    parser.add_argument("--table", type=Path, help="file to write the table to, with date, machine and command")
    parser.add_argument(
        "--long", type=Path, metavar="FOLDER", help="the runs of docs/reliability.md, each table into FOLDER; resumes"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
