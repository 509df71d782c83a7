"""Charts, read back as the XML that a browser gets: what is drawn, where, and what is left out."""

import xml.etree.ElementTree as ET

import pytest

from loadtest.plots import Bar, Mark, Series, bar_chart, line_chart, number_text

SVG = "{http://www.w3.org/2000/svg}"


def drawn(chart: str, tag: str) -> list[ET.Element]:
    return list(ET.fromstring(chart).iter(f"{SVG}{tag}"))


def words(chart: str) -> list[str]:
    return [text.text or "" for text in drawn(chart, "text")]


def test_points_stand_where_their_values_say() -> None:
    chart = line_chart("t", "x", "y", [Series("one", [(0, 0), (5, 50), (10, 100)])])
    dots = [(float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in drawn(chart, "circle")]
    (left, bottom), middle, (right, top) = dots
    assert (left, right, bottom) == (64, 700, 312)
    assert top == pytest.approx(68)
    assert middle == pytest.approx(((left + right) / 2, (top + bottom) / 2))


def test_a_logarithmic_axis_gives_each_decade_the_same_height() -> None:
    chart = line_chart("t", "x", "y", [Series("one", [(1, 1), (2, 10), (3, 100), (4, 0)])], log_y=True)
    heights = [float(dot.attrib["cy"]) for dot in drawn(chart, "circle")]
    assert len(heights) == 3, "0 has no place on a logarithmic axis"
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2])


def test_what_people_named_is_text_and_no_markup() -> None:
    name = '<script>alert("x")</script> & co'
    chart = line_chart(name, name, name, [Series(name, [(1, 1)])], marks=[Mark(1, name)])
    assert words(chart).count(name) == 5
    assert not list(ET.fromstring(chart).iter("script"))


def test_series_differ_by_colour_and_by_dash() -> None:
    chart = line_chart("t", "x", "y", [Series(str(n), [(0, n), (1, n)]) for n in range(6)])
    lines = [line for line in drawn(chart, "path") if "L" in line.attrib["d"]]
    assert len({line.attrib["style"] for line in lines}) == 6
    assert len({line.attrib.get("stroke-dasharray") for line in lines}) == 6


def test_nothing_to_draw_says_so() -> None:
    for chart in (line_chart("t", "x", "y", [Series("a", [(1, float("nan"))])]), bar_chart("t", "u", [])):
        assert "no data" in words(chart)
        assert not drawn(chart, "circle")


@pytest.mark.parametrize("points", [[(0, 0)], [(3, 7)], [(0, 0), (1, 0)], [(1, -5), (2, -1)], [(1, 1e-9), (2, 1e9)]])
def test_odd_values_stay_inside_the_axes(points: list[tuple[float, float]]) -> None:
    chart = line_chart("t", "x", "y", [Series("a", points)])
    for dot in drawn(chart, "circle"):
        assert 64 <= float(dot.attrib["cx"]) <= 700
        assert 60 <= float(dot.attrib["cy"]) <= 312.1


def test_bars_are_as_long_as_their_values_and_carry_their_spread() -> None:
    chart = bar_chart("t", "times", [Bar("a", 2, 1, 3), Bar("b", 4, 4, 4)])
    first, second = (float(bar.attrib["width"]) for bar in drawn(chart, "rect")[1:])
    assert second == pytest.approx(2 * first, abs=0.2)
    assert len(drawn(chart, "path")) == 1, "a spread of nothing is not drawn"
    assert {"a", "b", "2", "4", "times"} <= set(words(chart))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.02512, "0.0251"), (12.345, "12.3"), (999.6, "1,000"), (3412, "3,410"), (1_234_567, "1.23M")],
)
def test_numbers_are_written_as_people_read_them(value: float, text: str) -> None:
    assert number_text(value) == text


def test_a_chart_needs_nothing_from_elsewhere() -> None:
    chart = line_chart("t", "x", "y", [Series("a", [(1, 1)])])
    assert "http" not in chart.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "prefers-color-scheme:dark" in chart
