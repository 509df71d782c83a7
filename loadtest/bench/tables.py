"""What a run says in text: a table for the terminal, and one for docs/performance.md."""

from collections.abc import Iterable, Sequence

from loadtest.bench.comparison import Change
from loadtest.bench.study import Failure, Goal
from loadtest.bench.verdicts import Outcome, Spread, Standing, Verdict


def number(value: float) -> str:
    """Three digits that count, thousands apart."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(one: Spread | None, suffix: str = "") -> str:
    """`1.2 (1.1 to 1.4)`, without the brackets when there was one round."""
    if one is None:
        return "-"
    median = f"{'> ' if one.at_least else ''}{number(one.median)}{suffix}"
    ends = (number(one.least), number(one.most))
    return median if ends[0] == ends[1] else f"{median} ({ends[0]} to {ends[1]})"


def percent(change: Change) -> str:
    """`12 % worse`, `3 % better`."""
    if change.factor is None:
        return "not compared"
    apart = round(100 * (change.factor - 1)) if change.factor >= 1 else round(100 * (1 / change.factor - 1))
    if not apart:
        return "as then"
    return f"{apart} % {'worse' if change.factor > 1 else 'better'}{', within the spread' if change.overlap else ''}"


def compared(changes: Iterable[Change]) -> str:
    """A line a row; `!` marks what is worse by 10 percent, `!!` by 20."""
    marks = {"worse": "!", "much worse": "!!"}
    lines = [
        f"  {marks.get(one.word, ''):<2} {one.row:<16} {percent(one):<32} {_then_and_now(one)}".rstrip()
        for one in changes
    ]
    return "\n".join(["Beside the saved run:", *lines])


def _then_and_now(one: Change) -> str:
    if one.then is None or one.now is None:
        return "no contender is in both runs, and the machine is another"
    what = f"ratio to {one.against}" if one.against else "value"
    return f"{what} {spread(one.then)} -> {spread(one.now)}"


def goal(one: Goal, against: str | None) -> str:
    bound = f"{'at most' if one.sign == '<=' else 'at least'} {one.bound:g}"
    return bound if one.against is None else f"{bound}x {against or one.against}"


def said(outcome: Outcome) -> str:
    what = goal(outcome.goal, outcome.against)
    if outcome.shown is None:
        return f"goal {what}: not shown"
    reached = "reached" if outcome.reached else "NOT reached"
    return f"goal {what}: {reached}, {spread(outcome.shown, 'x' if outcome.goal.against else '')}"


def terminal(verdicts: Iterable[Verdict], failures: Iterable[Failure]) -> str:
    """A block a row: who is best comes first; the last column is the row's subject divided by that contender."""
    blocks = [_block(verdict) for verdict in verdicts]
    failed = [f"  {one.contender}, {one.study}, round {one.round}: {one.reason}" for one in failures]
    if failed:
        blocks.append("\n".join(["Not measured:", *failed]))
    return "\n\n".join(blocks)


def _block(verdict: Verdict) -> str:
    row = verdict.row
    head = f"{row.title}   [{row.key}; {row.unit}, {row.better} is better]"
    width = max((len(one.contender.name) for one in verdict.standings), default=0)
    lines = [
        f"  {one.contender.name:<{width}}  {spread(one.value):<28}  {_ratio(row.subject, one)}".rstrip()
        for one in verdict.standings
    ]
    return "\n".join([head, *lines, *(f"  {said(outcome)}" for outcome in verdict.outcomes)])


def _ratio(subject: str, one: Standing) -> str:
    return "" if one.ratio is None else f"{subject} / this: {spread(one.ratio, 'x')}"


def markdown(verdicts: Sequence[Verdict]) -> str:
    """One line a row: Longhaul's value, the others', and the goals."""
    lines = ["| measure | " + "ours | others | goal |", "|---|---|---|---|"]
    for verdict in verdicts:
        subject = next((one for one in verdict.standings if one.contender.name == verdict.row.subject), None)
        others = "; ".join(
            f"{one.contender.name} {spread(one.value)}" for one in verdict.standings if one is not subject
        )
        goals = "; ".join(said(outcome).removeprefix("goal ") for outcome in verdict.outcomes)
        ours = "-" if subject is None else spread(subject.value)
        lines.append(f"| {verdict.row.title}, {verdict.row.unit} | {ours} | {others or '-'} | {goals or '-'} |")
    return "\n".join(lines)
