"""Properties of the parts that read text: nothing lost, nothing computed, nothing too long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.simulator.arithmetic import find_expressions, plain_signs
from loadtest.simulator.behaviour import without_directives
from loadtest.simulator.intents import find_needs
from loadtest.simulator.tokens import count_tokens, split_tokens


@st.composite
def expressions(draw: st.DrawFn) -> str:
    text = draw(st.integers(0, 10**6).map(str))
    for _ in range(draw(st.integers(1, 6))):
        operator = draw(st.sampled_from([" + ", " - ", " * ", " / ", "*", " % ", "**"]))
        text = f"{text}{operator}{draw(st.integers(0, 10**6))}"
        if draw(st.booleans()):
            text = f"({text})"
    return text


@given(expressions(), st.sampled_from(["Compute {}", "What is {}?", "计算 {} 的结果", "please compute {}, then rest"]))
def test_an_expression_comes_out_as_it_went_in(expression: str, sentence: str) -> None:
    assert [found.text for found in find_expressions(sentence.format(expression))] == [expression]


@given(st.text())
def test_tokens_are_the_text(text: str) -> None:
    assert "".join(split_tokens(text)) == text
    assert count_tokens(text) == len(split_tokens(text))


@given(st.text())
def test_plain_signs_keep_every_place(text: str) -> None:
    assert len(plain_signs(text)) == len(text)


@given(st.text(alphabet="0123456789+-*/%^()., \nxcompute计算[]=搜索what is"))
def test_no_text_is_too_strange(text: str) -> None:
    find_needs(text)
    without_directives(text)


@pytest.mark.parametrize(
    ("unit", "needs"),
    [
        ("-", 1),
        ("(", 0),
        ("1+", 1),
        ("search for ", 1),
        (" ", 0),
        ("[[", 0),
        ("1 ", 0),
        ("搜索", 1),
        ("- ", 1),
        ("x\n", 0),
    ],
)
def test_long_input_is_read(unit: str, needs: int) -> None:
    """200,000 characters of the worst kinds: here a reader that takes more than linear time does not come back."""
    text = "Compute " + unit * (200_000 // len(unit)) + "1"
    assert len(find_needs(text)) == needs
    assert without_directives(text).endswith("1")
    assert count_tokens(text) > 0
