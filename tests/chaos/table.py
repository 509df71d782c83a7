"""The one table of a run, for a terminal and for docs/reliability.md: Markdown."""

import os
import platform
import shlex
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from typing import Final

from core_config import ROOT
from tests.chaos.journals import Evidence
from tests.chaos.verdict import Verdict

_EXAMPLES: Final = 5


def table(title: str, evidence: Evidence, verdict: Verdict) -> str:
    rows = [("", title)]
    rows += [(name, str(count)) for name, count in _about(evidence, verdict)]
    for name, found in verdict.wrongs.items():
        rows.append((f"**{name}**" if found else name, "not checked" if name in verdict.unchecked else str(len(found))))
    rows += [(name, str(count)) for name, count in sorted(verdict.counted.items())]
    rows.append(("verdict", _word(verdict)))
    width = max(len(name) for name, _ in rows)
    lines = [f"| {name.ljust(width)} | {value} |" for name, value in rows]
    lines.insert(1, f"|{'-' * (width + 2)}|---|")
    return "\n".join(lines)


def page(title: str, evidence: Evidence, verdict: Verdict) -> str:
    """The table with what says how to get it again, and the strikes."""
    made = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    command = shlex.join(["python", "-m", "tests.chaos", *sys.argv[1:]])
    parts = [f"# {title}", f"{made}, commit {_commit()}\n\n    {command}", table(title, evidence, verdict)]
    parts += [strikes_table(evidence), examples(verdict)]
    return "\n\n".join(part for part in parts if part) + "\n"


def strikes_table(evidence: Evidence) -> str:
    """How many tasks were in flight at each strike."""
    began = min((strike.at for strike in evidence.strikes), default=0.0)
    lines = ["| at | fault | struck | in a model call | in a tool |", "|---|---|---|---|---|"]
    lines += [
        f"| {one.at - began:.0f} s | {one.kind} | {', '.join(one.victims)} | {one.in_model} | {one.in_tool} |"
        for one in evidence.strikes
    ]
    return "\n".join(lines)


def examples(verdict: Verdict) -> str:
    """What shows each wrong, a few of each."""
    lines = []
    for name, found in verdict.wrongs.items():
        lines += [f"{name}: {one[:600]}" for one in found[:_EXAMPLES]]
        if len(found) > _EXAMPLES:
            lines.append(f"{name}: and {len(found) - _EXAMPLES} more")
    return "\n".join(lines)


def _about(evidence: Evidence, verdict: Verdict) -> list[tuple[str, str]]:
    kinds = Counter(strike.kind for strike in evidence.strikes)
    return [
        ("tasks", str(len(evidence.told))),
        ("took", f"{evidence.seconds:.0f} s"),
        ("faults that struck", str(len(evidence.strikes))),
        ("of them", ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))),
        ("faults that did not, for too little was in flight", str(evidence.skipped)),
        ("in flight when they struck, in all", str(verdict.in_flight)),
        ("stalls of the machine, or of Redis by an audit, over a second", str(len(evidence.stalls))),
        ("audits of the store", "none" if evidence.audits is None else str(evidence.audits)),
    ]


def _commit() -> str:
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return asked.stdout.strip() or "unknown"


def _word(verdict: Verdict) -> str:
    if not verdict.enough:
        return "NOT A RUN: too little was in flight"
    return "passed" if verdict.passed else "FAILED"
