"""Charts as SVG text, to stand in a page of HTML: no library, no script, readable in light and in dark.

A chart is 720 by 360 units and scales with the page. Colours follow the reader's `prefers-color-scheme`; series also
differ by dash and marker. Values that are not finite, and on a logarithmic axis those that are not above 0, are left
out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 720
HEIGHT: Final = 360
_LEFT, _RIGHT, _BOTTOM = 64, 20, 48
_TITLE, _LEGEND_ROW = 34, 18
_ROW: Final = 30  # of a bar

_STYLE: Final = """<style>
.chart{color-scheme:light dark;--ink:#1c2430;--soft:#5c6775;--grid:#e2e6ea;--paper:#fff;
--s0:#0b6bb8;--s1:#c2410c;--s2:#15803d;--s3:#7c3aed;--s4:#a16207;--s5:#be185d;
font:12px system-ui,sans-serif;width:100%;height:auto;max-width:860px}
@media (prefers-color-scheme:dark){.chart{--ink:#e6eaf0;--soft:#9aa6b4;--grid:#303844;--paper:#151a21;
--s0:#5db3f5;--s1:#fb923c;--s2:#4ade80;--s3:#b79cf7;--s4:#facc15;--s5:#f472b6}}
.chart text{fill:var(--ink)}.chart .soft{fill:var(--soft)}.chart .head{font-size:15px;font-weight:600}
.chart .grid{stroke:var(--grid)}.chart .axis{stroke:var(--soft)}.chart .mark{stroke:var(--soft);stroke-dasharray:2 3}
.chart .line{fill:none;stroke-width:2}.chart .dot{stroke:var(--paper);stroke-width:1}
.chart .paper{fill:var(--paper)}.chart .whisker{stroke:var(--ink);stroke-width:1.5}
</style>"""
_COLOURS: Final = 6
_DASHES: Final = ("", "7 4", "2 3", "9 3 2 3", "4 2", "1 4")


@dataclass(frozen=True)
class Series:
    """One line: points as (x, y), in the order in which they are joined."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Mark:
    """A vertical line at `x`, such as a knee, with words at its top."""

    x: float
    label: str


@dataclass(frozen=True)
class Bar:
    """One value and the range that it was seen in; a range of no width is not drawn."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class _Scale:
    """Maps values to places; `ticks` are the values that get a line and a number."""

    first: float
    last: float
    at: float
    length: float
    ticks: tuple[float, ...]
    log: bool = False

    def place(self, value: float) -> float:
        low, high, here = (math.log10(v) if self.log else v for v in (self.first, self.last, value))
        return self.at + self.length * (here - low) / (high - low)


def line_chart(
    title: str,
    x_label: str,
    y_label: str,
    series: Sequence[Series],
    *,
    marks: Sequence[Mark] = (),
    log_y: bool = False,
) -> str:
    """SVG text. Both axes begin at 0, but for the y axis of `log_y`. Without a single point it says `no data`."""
    kept = [(one.name, [point for point in one.points if _drawable(point, log_y)]) for one in series]
    points = [point for _, found in kept for point in found]
    rows = _legend_rows([name for name, _ in kept])
    top = _TITLE + _LEGEND_ROW * len(rows) + 16
    height = HEIGHT + _LEGEND_ROW * (len(rows) - 1)
    body = [_text(_LEFT, 20, title, "head")]
    if not points:
        body.append(_text(WIDTH / 2, height / 2, "no data", "soft", "middle"))
        return _svg(title, height, body)
    xs = [x for x, _ in points] + [mark.x for mark in marks if math.isfinite(mark.x)]
    across = _linear(min(0.0, *xs), max(xs), _LEFT, WIDTH - _LEFT - _RIGHT)
    ys = [y for _, y in points]
    base = height - _BOTTOM
    up = (
        _logarithmic(min(ys), max(ys), base, top - base) if log_y else _linear(min(0.0, *ys), max(ys), base, top - base)
    )
    body += _axes(across, up, x_label, y_label, top, base)
    for mark in marks:
        if math.isfinite(mark.x):
            body += _mark(across.place(mark.x), mark.label, top, base)
    body += _legend(rows)
    for number, (name, found) in enumerate(kept):
        body += _line(number, name, [(across.place(x), up.place(y), x, y) for x, y in found])
    return _svg(title, height, body)


def bar_chart(title: str, unit: str, bars: Sequence[Bar]) -> str:
    """SVG text: a bar a row from 0, its value in words, a whisker from `low` to `high`."""
    height = _TITLE + _ROW * max(len(bars), 1) + _BOTTOM
    body = [_text(16, 20, title, "head")]
    kept = [bar for bar in bars if all(map(math.isfinite, (bar.value, bar.low, bar.high)))]
    if not kept:
        body.append(_text(WIDTH / 2, height / 2, "no data", "soft", "middle"))
        return _svg(title, height, body)
    left = 24 + min(300.0, 6.8 * max(len(bar.name) for bar in kept))
    across = _linear(
        min(0.0, *(bar.low for bar in kept)), max(max(bar.value, bar.high) for bar in kept), left, WIDTH - left - 90
    )
    base = _TITLE + _ROW * len(bars)
    for tick in across.ticks:
        x = across.place(tick)
        body += [f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TITLE}" y2="{base}"/>']
        body += [_text(x, base + 16, number_text(tick), "soft", "middle")]
    body.append(_text((left + WIDTH) / 2, base + 36, unit, "soft", "middle"))
    for row, bar in enumerate(kept):
        body += _bar(bar, unit, across, left, _TITLE + _ROW * row)
    return _svg(title, height, body)


def number_text(value: float) -> str:
    """`0.025`, `12.5`, `3,400`, `1.2M`: three figures, as people read them."""
    size = abs(value)
    if size >= 1_000_000:
        return f"{value / 1_000_000:.3g}M"
    if size >= 1000:
        return f"{round(value, 2 - math.floor(math.log10(size))):,.0f}"
    if size >= 999.5:
        return f"{value:,.0f}"
    return f"{value:.3g}" if size >= 0.001 or value == 0 else f"{value:.1e}"


def _drawable(point: tuple[float, float], log_y: bool) -> bool:
    return all(map(math.isfinite, point)) and (point[1] > 0 or not log_y)


def _linear(low: float, high: float, at: float, length: float) -> _Scale:
    """A scale whose ends are round numbers at or beyond `low` and `high`."""
    span = high - low or abs(high) or 1.0
    rough = span / 6
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil((high or low + span) / step - 1e-9)
    last = max(last, first + 1)
    return _Scale(first * step, last * step, at, length, tuple(step * n for n in range(first, last + 1)))


def _logarithmic(low: float, high: float, at: float, length: float) -> _Scale:
    """Whole decades, or 1-2-5 steps where the values lie within fewer than two."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    last = max(last, first + 1)
    factors = (1, 2, 5) if last - first <= 2 else (1,)
    ticks = [factor * 10.0**power for power in range(first, last) for factor in factors] + [10.0**last]
    return _Scale(10.0**first, 10.0**last, at, length, tuple(ticks), log=True)


def _axes(across: _Scale, up: _Scale, x_label: str, y_label: str, top: float, base: float) -> list[str]:
    drawn = []
    for tick in up.ticks:
        y = up.place(tick)
        drawn.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(_text(_LEFT - 8, y + 4, number_text(tick), "soft", "end"))
    drawn += [_text(across.place(tick), base + 18, number_text(tick), "soft", "middle") for tick in across.ticks]
    drawn.append(f'<line class="axis" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{base}" y2="{base}"/>')
    drawn.append(_text((_LEFT + WIDTH - _RIGHT) / 2, base + 38, x_label, "soft", "middle"))
    drawn.append(_text(_LEFT - 44, top - 10, y_label, "soft"))
    return drawn


def _mark(x: float, label: str, top: float, base: float) -> list[str]:
    anchor, shift = ("end", -5) if x > WIDTH * 0.6 else ("start", 5)
    return [
        f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{base}"/>',
        _text(x + shift, top + 11, label, "soft", anchor),
    ]


def _legend_rows(names: Sequence[str]) -> list[list[tuple[int, str, float]]]:
    """Names with their places, in as many rows as they need."""
    rows: list[list[tuple[int, str, float]]] = [[]]
    x = float(_LEFT)
    for number, name in enumerate(names):
        width = 52 + 7.2 * len(name)
        if rows[-1] and x + width > WIDTH - _RIGHT:
            rows.append([])
            x = float(_LEFT)
        rows[-1].append((number, name, x))
        x += width
    return rows


def _legend(rows: list[list[tuple[int, str, float]]]) -> list[str]:
    drawn = []
    for row, entries in enumerate(rows):
        y = _TITLE + 4 + _LEGEND_ROW * row
        for number, name, x in entries:
            drawn.append(f'<path class="line" {_stroke(number)} d="M{x:.1f} {y}h24"/>')
            drawn.append(_text(x + 30, y + 4, name))
    return drawn


def _line(number: int, name: str, places: list[tuple[float, float, float, float]]) -> list[str]:
    path = " ".join(f"{'L' if n else 'M'}{x:.1f} {y:.1f}" for n, (x, y, _, _) in enumerate(places))
    drawn = [f'<path class="line" {_stroke(number)} d="{path}"/>'] if len(places) > 1 else []
    if len(places) <= 60:
        drawn += [
            f'<circle class="dot" style="fill:var(--s{number % _COLOURS})" cx="{x:.1f}" cy="{y:.1f}" r="3.5">'
            f"<title>{escape(name)}: {number_text(value)} at {number_text(at)}</title></circle>"
            for x, y, at, value in places
        ]
    return drawn


def _bar(bar: Bar, unit: str, across: _Scale, left: float, y: float) -> list[str]:
    begin, end = sorted((across.place(0.0), across.place(bar.value)))
    middle = y + _ROW / 2
    told = f"<title>{escape(bar.name)}: {number_text(bar.value)} {escape(unit)}</title>"
    place = f'x="{begin:.1f}" y="{y + 6}" width="{end - begin:.1f}" height="{_ROW - 12}" rx="2"'
    drawn = [
        _text(left - 8, middle + 4, bar.name, anchor="end"),
        f'<rect style="fill:var(--s0)" {place}>{told}</rect>',
    ]
    if bar.high > bar.low:
        low, high = across.place(bar.low), across.place(bar.high)
        drawn.append(
            f'<path class="whisker" d="M{low:.1f} {middle}H{high:.1f}'
            f'M{low:.1f} {middle - 4}v8M{high:.1f} {middle - 4}v8"/>'
        )
        end = max(end, high)
    drawn.append(_text(end + 8, middle + 4, number_text(bar.value)))
    return drawn


def _stroke(number: int) -> str:
    dash = _DASHES[number % len(_DASHES)]
    return f'style="stroke:var(--s{number % _COLOURS})"' + (f' stroke-dasharray="{dash}"' if dash else "")


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{name}>{escape(words)}</text>'


def _svg(title: str, height: float, body: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(title)}">{_STYLE}<rect class="paper" width="{WIDTH}" height="{height:.0f}" rx="6"/>'
        + "".join(body)
        + "</svg>"
    )
