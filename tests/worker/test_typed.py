"""A run that ends with data: what is settled of it."""

import random
from typing import Any

import pytest

from agent.meter import Meter
from agent.work import Answer
from taskstore.claims import Settlement
from worker.attempt import Attempt
from worker.executor import work_of
from worker.outcome import MAX_OUTPUT_BYTES, settlement
from worker.steps import StepLog

from .test_executor import claim


def settled(answer: Answer) -> Settlement:
    claimed = claim()
    attempt = Attempt(claimed, 10, StepLog(claimed, lambda text: text, lambda *_: None))
    found = settlement(attempt, answer, Meter(), random.Random(1))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"é": [1, 2.5, None, True]}, '{"é": [1, 2.5, null, true]}'),
        ([], "[]"),
        ("a", '"a"'),
        (0, "0"),
        (False, "false"),
    ],
)
def test_data_is_kept_as_json(data: Any, text: str) -> None:
    found = settled(Answer(text, data))
    assert (found.kind, found.result, found.result_json) == ("success", text, text)


def test_text_alone_is_no_data() -> None:
    assert settled(Answer('{"a": 1}')).result_json is None


@pytest.mark.parametrize(
    "data", [{1, 2}, float("nan"), {"a": object()}, {("a", 1): 2}], ids=["set", "nan", "object", "key"]
)
def test_an_agent_s_data_that_is_no_json_fails_the_task(data: Any) -> None:
    found = settled(Answer("text", data))
    assert (found.kind, found.error_code, found.partial) == ("fail", "invalid_output", "text")


@pytest.mark.parametrize(
    "answer", [Answer("x" * (MAX_OUTPUT_BYTES + 1), {}), Answer("x", "é" * (MAX_OUTPUT_BYTES // 2))]
)
def test_the_largest_output_holds_for_text_and_data(answer: Answer) -> None:
    found = settled(answer)
    assert (found.kind, found.error_code, found.result_json) == ("fail", "output_too_large", None)


def test_half_a_character_is_stored_as_a_question_mark() -> None:
    found = settled(Answer("half \ud800 pair", {"a": "half \ud800 pair"}))
    assert (found.result, found.result_json) == ("half ? pair", '{"a": "half ? pair"}')


def test_the_agent_gets_input_and_schema() -> None:
    work = work_of(claim(message="", input={"a": 1}, output_schema={"type": "object"}))
    assert (work.message, work.input, work.output_schema) == ("", {"a": 1}, {"type": "object"})
