"""A run as one self-contained HTML page: a chart a row, the goals, and what changed since a saved run."""

from collections.abc import Sequence
from html import escape
from typing import Final

from loadtest.bench.comparison import BAD, Change
from loadtest.bench.saved import Saved
from loadtest.bench.tables import compared, percent, said
from loadtest.bench.verdicts import Verdict
from loadtest.plots import Bar, bar_chart

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5c6775;--paper:#fff;--bad:#b91c1c;--good:#15803d}
@media (prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa6b4;--paper:#151a21;--bad:#f87171;--good:#4ade80}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:880px;margin:2em auto;
padding:0 1em}
.soft{color:var(--soft)}.bad{color:var(--bad)}.good{color:var(--good)}pre{white-space:pre-wrap}
h2{margin-top:2.2em;font-size:1.1em}
"""


def page(run: Saved, verdicts: Sequence[Verdict], changes: Sequence[Change] = ()) -> str:
    by_row = {one.row: one for one in changes}
    rows = "\n".join(_row(verdict, by_row.get(verdict.row.key)) for verdict in verdicts)
    since = f"<h2>Beside the saved run</h2><pre>{escape(compared(changes))}</pre>" if changes else ""
    failed = "".join(
        f"<li>{escape(one.contender)}, {escape(one.study)}, round {one.round}: {escape(one.reason)}</li>"
        for one in run.failures
    )
    made = f"{run.date}, {run.machine}, {run.cores} cores, commit {run.commit or 'unknown'}"
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Longhaul beside its peers</title><style>{_STYLE}</style></head><body>
<h1>Longhaul beside its peers</h1>
<p class="soft">{escape(made)}<br><code>{escape(run.command)}</code><br>{escape(versions)}</p>
<p>Bars are medians of the rounds, whiskers the least and the most. Contenders took turns on one machine: compare the
bars of one chart with each other, not with another machine's.</p>
{since}{rows}{f"<h2>Not measured</h2><ul>{failed}</ul>" if failed else ""}
</body></html>
"""


def _row(verdict: Verdict, change: Change | None) -> str:
    row = verdict.row
    bars = [
        Bar(
            f"{one.contender.name}{' (gave up there)' if one.value.at_least else ''}",
            one.value.median, one.value.least, one.value.most,
        )
        for one in verdict.standings
    ]  # fmt: skip
    goals = "".join(
        f'<li class="{"good" if one.reached else "bad" if one.reached is False else "soft"}">{escape(said(one))}</li>'
        for one in verdict.outcomes
    )
    kind = "bad" if change and change.word in BAD else "soft"
    since = "" if change is None else f'<p class="{kind}">{escape(percent(change))}</p>'
    return f"""<h2 id="{escape(row.key)}">{escape(row.title)}</h2>
<p class="soft">{escape(row.measured_by)} In {escape(row.unit)}; {row.better} is better.</p>
{bar_chart(row.title, row.unit, bars)}
<ul>{goals}</ul>{since}"""
