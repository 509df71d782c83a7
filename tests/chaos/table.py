"""The one table of a run, for a terminal and for docs/reliability.md: Markdown."""

from collections import Counter
from typing import Final

from tests.chaos.journals import Evidence
from tests.chaos.verdict import Verdict

_EXAMPLES: Final = 5


def table(title: str, evidence: Evidence, verdict: Verdict) -> str:
    rows = [("", title)]
    rows += [(name, str(count)) for name, count in _about(evidence, verdict)]
    rows += [(f"**{name}**" if found else name, str(len(found))) for name, found in verdict.wrongs.items()]
    rows += [(name, str(count)) for name, count in sorted(verdict.counted.items())]
    rows.append(("verdict", _word(verdict)))
    width = max(len(name) for name, _ in rows)
    lines = [f"| {name.ljust(width)} | {value} |" for name, value in rows]
    lines.insert(1, f"|{'-' * (width + 2)}|---|")
    return "\n".join(lines)


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
        ("audits of the store", "none" if evidence.audits is None else str(evidence.audits)),
    ]


def _word(verdict: Verdict) -> str:
    if not verdict.enough:
        return "NOT A RUN: too little was in flight"
    return "passed" if verdict.passed else "FAILED"
