"""Whether an `output_schema` is a JSON Schema that answers can be held to, and where and why not.

Imports nothing of ours: it is asked of a task by the gateway and of an agent by agents_config.

A schema that jsonschema would take is refused when checking data against it could not be bounded, or would reach out
of it: a `$ref` may lead to a place in the schema itself and nowhere else, so nothing is ever fetched. Patterns are
those of Rust's engine (pydantic's), which takes linear time: no look-around, no back-references. agent/schema_check.py
then counts its steps, for what cannot be told from here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any
from urllib.parse import unquote

import orjson
from jsonschema import Draft7Validator, Draft201909Validator, Draft202012Validator
from jsonschema.exceptions import best_match
from pydantic_core import SchemaError, SchemaValidator, core_schema

LONGEST_BYTES = 32_768
"""Of its compact JSON. How deep it may be is said of the whole body, in body.py."""
MOST_PARTS = 500
"""Schemas within it: checking that each is one costs most of a millisecond."""
LONGEST_PATTERN = 500
LONGEST_SAID = 200

DIALECTS: Mapping[str, Any] = {
    "https://json-schema.org/draft/2020-12/schema": Draft202012Validator,
    "https://json-schema.org/draft/2019-09/schema": Draft201909Validator,
    "http://json-schema.org/draft-07/schema": Draft7Validator,
}
UNSUPPORTED: Mapping[str, str] = {
    "patternProperties": "describe the names in `propertyNames` and the values in `additionalProperties`",
    "unevaluatedProperties": "use `additionalProperties`",
    "unevaluatedItems": "use `items`, after `prefixItems`",
    "$dynamicRef": "use `$ref`",
    "$recursiveRef": "use `$ref`",
}

ONE = {"additionalItems", "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not",
       "propertyNames", "then"}  # fmt: skip
LISTS = {"allOf", "anyOf", "items", "oneOf", "prefixItems"}
MAPS = {"$defs", "definitions", "dependencies", "dependentSchemas", "properties"}
IN_PLACE = {"allOf", "anyOf", "dependencies", "dependentSchemas", "else", "if", "not", "oneOf", "then"}
"""Keywords whose schemas look at the same value, not at a part of it."""

Place = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a schema. `place`: the names and numbers that lead to it; empty for all of it."""

    place: Place
    said: str


class _FaultError(Exception):
    def __init__(self, place: Place, said: str) -> None:
        super().__init__(said)
        self.fault = Fault(place, said)


def fault_in(schema: Mapping[str, Any]) -> Fault | None:
    """The first thing that is wrong with it."""
    if (size := len(orjson.dumps(schema))) > LONGEST_BYTES:
        return Fault((), f"is {size} bytes of JSON; {LONGEST_BYTES} are the most")
    try:
        dialect = _dialect(schema)
        parts = _Parts(anchored=dialect is not Draft7Validator)
        parts.add((), schema)
    except _FaultError as error:
        return error.fault
    # without format_checker: its idea of a regex is Python's
    wrong = best_match(dialect(dialect.META_SCHEMA).iter_errors(schema))
    if wrong is not None:
        return Fault(tuple(map(str, wrong.absolute_path)), _cut(wrong.message))
    try:
        parts.follow_references()
    except _FaultError as error:
        return error.fault
    return None


def _dialect(schema: Mapping[str, Any]) -> Any:
    named = schema.get("$schema", next(iter(DIALECTS)))
    if not isinstance(named, str) or named.removesuffix("#") not in DIALECTS:
        raise _FaultError(("$schema",), f"is no dialect that is known here; known: {', '.join(DIALECTS)}")
    return DIALECTS[named.removesuffix("#")]


@dataclass(slots=True)
class _Parts:
    """Every schema within a schema, by its place."""

    anchored: bool
    """Whether its dialect knows `$anchor`."""
    at: dict[Place, Any] = field(default_factory=dict)
    anchors: dict[str, Place] = field(default_factory=dict)
    in_place: dict[Place, list[Place]] = field(default_factory=dict)
    """Which schemas look at the very value that this one looks at."""

    def add(self, place: Place, schema: Any) -> None:
        if not isinstance(schema, dict | bool):
            raise _FaultError(place, f"{_cut(repr(schema))} is no schema; a schema is an object, true or false")
        self.at[place] = schema
        self.in_place[place] = []
        if len(self.at) > MOST_PARTS:
            raise _FaultError((), f"holds more than {MOST_PARTS} schemas; describe less, or in fewer parts")
        if isinstance(schema, bool):
            return
        self._check(place, schema)
        for keyword, inner, part in _inner(schema):
            self.add((*place, *inner), part)
            if keyword in IN_PLACE:
                self.in_place[place].append((*place, *inner))

    def _check(self, place: Place, schema: Mapping[str, Any]) -> None:
        for keyword, remedy in UNSUPPORTED.items():
            if keyword in schema:
                raise _FaultError((*place, keyword), f"is not supported; {remedy}")
        for keyword in ("$id", "$schema"):
            if place and keyword in schema:
                raise _FaultError((*place, keyword), "may only stand at the top; name parts under `$defs`")
        for names in _lists_of_names(schema):
            value = schema
            for part in names:
                value = value[part]
            if not all(isinstance(one, str) for one in value):
                raise _FaultError((*place, *names), "must be a list of texts")
        if isinstance(schema.get("pattern"), str):
            _check_pattern((*place, "pattern"), schema["pattern"])
        if self.anchored and isinstance(schema.get("$anchor"), str):
            self.anchors[schema["$anchor"]] = place

    def follow_references(self) -> None:
        """Each leads to a schema within this one, and none leads back to itself at the same value."""
        for place, schema in self.at.items():
            if isinstance(schema, dict) and "$ref" in schema:
                self.in_place[place].append(self._target((*place, "$ref"), schema["$ref"]))
        try:
            TopologicalSorter(self.in_place).prepare()
        except CycleError as error:
            raise _FaultError(
                error.args[1][0], "refers to itself before any property or item: no data ends it"
            ) from None

    def _target(self, place: Place, reference: str) -> Place:
        if not reference.startswith("#"):
            raise _FaultError(
                place, f"{_cut(reference)!r} leads out of the schema, and nothing is fetched; use `#/$defs/…`"
            )
        pointer = unquote(reference[1:])
        if pointer and not pointer.startswith("/"):
            target = self.anchors.get(pointer)
        else:
            target = tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])
        if target is None or target not in self.at:
            raise _FaultError(place, f"{_cut(reference)!r} leads to no schema in this one")
        return target


def _inner(schema: Mapping[str, Any]) -> Iterator[tuple[str, Place, Any]]:
    """Keyword, place and value of each schema right within this one."""
    for keyword, value in schema.items():
        if keyword in LISTS and isinstance(value, list):
            yield from ((keyword, (keyword, str(index)), part) for index, part in enumerate(value))
        elif keyword in ONE:
            yield keyword, (keyword,), value
        elif keyword in MAPS and isinstance(value, dict):
            for name, part in value.items():
                if not (keyword == "dependencies" and isinstance(part, list)):
                    yield keyword, (keyword, name), part


def _lists_of_names(schema: Mapping[str, Any]) -> Iterator[Place]:
    """Where lists of texts belong: jsonschema compares the items of other lists with each other, each with each."""
    for keyword in ("required", "type"):
        if isinstance(schema.get(keyword), list):
            yield (keyword,)
    for keyword in ("dependencies", "dependentRequired"):
        if isinstance(schema.get(keyword), dict):
            yield from ((keyword, name) for name, value in schema[keyword].items() if isinstance(value, list))


def _check_pattern(place: Place, pattern: str) -> None:
    if len(pattern) > LONGEST_PATTERN:
        raise _FaultError(place, f"has {len(pattern)} characters; {LONGEST_PATTERN} are the most")
    try:
        SchemaValidator(core_schema.str_schema(pattern=pattern))
    except SchemaError as error:
        raise _FaultError(place, f"{_cut(pattern)!r} cannot be used: {_reason(str(error))}") from None


def _reason(said: str) -> str:
    """The last line of what the engine says, which is the reason; those before draw the place."""
    return said.strip().splitlines()[-1].strip().removeprefix("error: ").removeprefix("SchemaError: ").rstrip(".")


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_SAID else text[: LONGEST_SAID - 1] + "…"
