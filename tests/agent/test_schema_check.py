"""Data against schemas: what is wrong is said with its place, and neither of the two can take long or reach out."""

import json
import socket
import tracemalloc
from typing import Any

import pytest

from agent import schema_check
from agent.schema_check import LONGEST_FAULT, LONGEST_MATCHED, LONGEST_PLACE, MOST_FAULTS, check

ORDER = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "pattern": r"^\p{Lu}{2}-\d+$"},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}, "uniqueItems": True},
        "paid": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
    },
    "required": ["id", "lines"],
    "additionalProperties": False,
    "$defs": {"line": {"type": "object", "properties": {"数": {"type": "integer", "minimum": 1}}, "required": ["数"]}},
}
TREE: dict[str, Any] = {"type": "object", "properties": {"kid": {"$ref": "#"}}, "additionalProperties": False}


def tower(levels: int) -> dict[str, Any]:
    """Each level looks at the value twice: 2 to the power of `levels` looks."""
    steps: dict[str, Any] = {"s0": {"type": "object"}}
    for level in range(1, levels + 1):
        steps[f"s{level}"] = {"allOf": [{"$ref": f"#/$defs/s{level - 1}"}, {"$ref": f"#/$defs/s{level - 1}"}]}
    return {"$defs": steps, "$ref": f"#/$defs/s{levels}"}


@pytest.mark.parametrize(
    ("data", "schema"),
    [
        ({"id": "ÄB-7", "lines": [{"数": 1}, {"数": 2}], "paid": None}, ORDER),
        ({"kid": {"kid": {}}}, TREE),
        ([1, True, {"a": 1}, {"a": True}], {"uniqueItems": True}),
        ("é", {"maxLength": 1}),
        (None, {"type": "null"}),
        (5.0, {"type": "integer"}),
        ({"anything": [1]}, {}),
        ("not a date", {"format": "date"}),
        ({"a": 1}, {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"b": {"type": "integer"}},
                    "properties": {"a": {"$ref": "#/definitions/b"}}}),
        ({"total": 1}, {"$id": "https://example.com/x", "properties": {"total": {"$ref": "#/$defs/n"}},
                        "$defs": {"n": {"type": "number"}}}),
    ],
)  # fmt: skip
def test_what_satisfies(data: Any, schema: dict[str, Any]) -> None:
    assert check(data, schema) is None


@pytest.mark.parametrize(
    ("data", "schema", "said"),
    [
        ({"id": "AB-7"}, ORDER, "$: 'lines' is a required property"),
        ({"id": "AB-7", "lines": [{"数": 1}, {"数": "2"}]}, ORDER, "$.lines[1].数: '2' is not of type 'integer'"),
        ({"id": "ab", "lines": []}, ORDER, r"$.id: 'ab' does not match '^\\p{Lu}{2}-\\d+$'"),
        ({"id": "AB-7", "lines": [{"数": 1}, {"数": 1.0}]}, ORDER, "$.lines: has items that are equal"),
        ({"id": "AB-7", "lines": [], "x": 1}, ORDER, "$: Additional properties are not allowed ('x' was unexpected)"),
        ({"id": "AB-7", "lines": [], "paid": "no"}, ORDER, "$.paid: 'no' is not valid under any of the given schemas"),
        ({"kid": {"kid": {"kit": {}}}}, TREE, "$.kid.kid: Additional properties are not allowed"),
        (True, {"type": "integer"}, "$: True is not of type 'integer'"),
        (1, False, "$: False schema does not allow 1"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(data: Any, schema: Any, said: str) -> None:
    wrong = check(data, {"allOf": [schema]} if schema is False else schema)
    assert wrong is not None
    assert said in wrong


def test_a_keyword_of_another_dialect_means_what_it_means_there() -> None:
    pair = {"items": [{"type": "integer"}, {"type": "string"}]}
    draft_7 = {**pair, "$schema": "http://json-schema.org/draft-07/schema#"}
    assert check([1, "a"], draft_7) is None
    assert check(["a", 1], draft_7) is not None


def test_an_answer_names_few_faults_and_cuts_them() -> None:
    wrong = check({"a" * 500: ["x" * 100_000] * 50}, {"additionalProperties": {"items": {"type": "integer"}}})
    assert wrong is not None
    assert wrong.count("is not of type 'integer'") == MOST_FAULTS
    assert len(wrong) < MOST_FAULTS * (LONGEST_FAULT + LONGEST_PLACE + 10)


@pytest.mark.parametrize(
    "data",
    [float("nan"), float("inf"), {1: object()}, {"a": {1, 2}}, b"bytes"],
    ids=["nan", "inf", "object", "set", "bytes"],
)
def test_what_is_no_json_satisfies_nothing(data: Any) -> None:
    assert check(data, {}) == "it is no JSON value"


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit stands in the code; that there is one shows sooner with a lower one."""
    monkeypatch.setattr(schema_check, "MOST_STEPS", 4000)


@pytest.mark.usefixtures("few_steps")
def test_a_schema_that_doubles_at_each_level_ends() -> None:
    assert check({}, tower(8)) is None
    assert check({}, tower(60)) == "it takes more than 4000 steps to check"


@pytest.mark.usefixtures("few_steps")
def test_much_data_ends() -> None:
    assert check([[]] * 8000, {"items": {"type": "array"}}) == "it takes more than 4000 steps to check"
    objects = [{"a": number} for number in range(3900)]
    assert check(objects, {"uniqueItems": True}) is None, "no comparison of each with each"
    assert check([*objects, {"a": 7}], {"uniqueItems": True}) == "$: has items that are equal"


def test_faults_of_large_data_take_little_memory() -> None:
    schema = {"$defs": {"s0": {"type": "null"}}, "$ref": "#/$defs/s20"}
    for level in range(1, 21):
        schema["$defs"][f"s{level}"] = {"anyOf": [{"$ref": f"#/$defs/s{level - 1}"}] * 2}  # type: ignore[index]  # its values differ
    tracemalloc.start()
    try:
        wrong = check(["x" * 100_000], schema)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert wrong == f"it takes more than {schema_check.MOST_STEPS} steps to check"
    assert peak < 20_000_000


NAMES = [f"n{number}" for number in range(5000)]


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize(("keyword", "item"), [("enum", NAMES[-1]), ("required", dict.fromkeys(NAMES, 0))])
def test_what_a_keyword_looks_through_counts(keyword: str, item: Any) -> None:
    assert check([item], {"items": {keyword: NAMES}}) is None
    assert check([item] * 60, {"items": {keyword: NAMES}}) == "it takes more than 4000 steps to check"


@pytest.mark.parametrize("pattern", ["^(a+)+$", "(a|aa)+$", "(.*a){12}b", "^(([a-z])+.)+[A-Z]([a-z])+$"])
def test_a_pattern_that_hangs_pythons_engine_ends(pattern: str) -> None:
    assert check("a" * (LONGEST_MATCHED - 1) + "!", {"pattern": pattern}) is not None


def test_a_pattern_is_not_tried_on_a_huge_text() -> None:
    wrong = check("a" * (LONGEST_MATCHED + 1), {"pattern": "a"})
    assert wrong == f"$: has {LONGEST_MATCHED + 1} characters; {LONGEST_MATCHED} are the most for a `pattern`"


def test_deep_data_is_no_recursion_error() -> None:
    data: dict[str, Any] = {}
    for _ in range(2000):
        data = {"kid": data}
    assert check(data, TREE) == "it is nested too deeply to be checked"


def test_nothing_is_fetched() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/schema.json"
        for schema in ({"$ref": url}, {"properties": {"a": {"$ref": f"{url}#/a"}}}, {"$id": url, "$ref": "other.json"}):
            assert check({"a": 1}, schema) == "the schema cannot be applied to it (_WrappedReferencingError)"
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_numbers_beyond_floats_are_no_fault_of_ours() -> None:
    huge = json.loads("1" + "0" * 400)
    assert check(huge, {"type": "integer"}) is None
    assert check(huge, {"multipleOf": 0.5}) is None or "cannot be applied" in str(check(huge, {"multipleOf": 0.5}))


@pytest.mark.parametrize(
    "schema", [{"pattern": "(?=a)"}, {"maxLength": "long"}, {"allOf": [5]}, {"type": 5}, {"$ref": 5}, {"not": [[]]}]
)
def test_a_schema_that_is_none_is_said_and_raises_nothing(schema: dict[str, Any]) -> None:
    wrong = check("a", schema)
    assert wrong is not None
    assert wrong.startswith("the schema cannot be applied to it (")


def test_an_id_changes_nothing() -> None:
    schema = {"$id": "http://[", "items": {"$ref": "#/$defs/a"}, "$defs": {"a": {"type": "string"}}}
    assert check(["a"], schema) is None
