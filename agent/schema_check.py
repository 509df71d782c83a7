"""Whether data satisfies a JSON Schema. Bounded in time whatever the two hold, and nothing is ever fetched.

Both are strangers' work: the schema a client's, the data a model's. So every keyword that is looked at counts towards a
limit, with the size of what it looks at: references that double at each level would else take for ever. Patterns are
matched by an engine that takes linear time (pydantic's, which is Rust's; Python's own can be made to hang), and a
reference out of the schema finds an empty registry. What such an engine or this count cannot bound
(`patternProperties`, `unevaluated…`) the gateway refuses.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import cache, lru_cache
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import best_match
from jsonschema.validators import extend, validator_for
from pydantic_core import SchemaError, SchemaValidator, core_schema
from referencing import Registry
from referencing.exceptions import Unresolvable

MOST_STEPS = 50_000
"""Keywords that one check looks at: some two seconds, in a thread."""
MOST_FAULTS = 3
"""Faults that an answer names."""
LONGEST_FAULT = 240
"""Characters of one fault, its place not counted."""
LONGEST_PLACE = 120
LONGEST_MATCHED = 10_000
"""Characters of a text that a `pattern` is tried on."""
TOO_DEEP = "it is nested too deeply to be checked"


def check(data: Any, schema: Mapping[str, Any]) -> str | None:
    """None when `data` is a JSON value that satisfies `schema`; else what is wrong, in a few hundred characters."""
    try:
        json.dumps(data, allow_nan=False)
    except RecursionError:
        return TOO_DEEP
    except (TypeError, ValueError):
        return "it is no JSON value"
    left = _LEFT.set([MOST_STEPS])
    try:
        stock: Any = validator_for(schema, default=Draft202012Validator)
        # without `$schema`, by which jsonschema would go back to its own class wherever a reference leads to the root,
        # and `$id`, which only matters to references from elsewhere
        root = {name: value for name, value in schema.items() if name not in {"$schema", "$id"}}
        faults = _bounded(stock)(root, registry=Registry()).iter_errors(data)
        found = [_said(fault) for fault in islice(faults, MOST_FAULTS)]
    except _TooManyStepsError:
        return f"it takes more than {MOST_STEPS} steps to check"
    except RecursionError:
        return TOO_DEEP
    except (ArithmeticError, AttributeError, LookupError, SchemaError, TypeError, ValueError, Unresolvable) as error:
        # a number beyond floats; or a schema that did not come through the gateway and is none
        return f"the schema cannot be applied to it ({type(error).__name__})"
    finally:
        _LEFT.reset(left)
    return "; ".join(found) or None


class _TooManyStepsError(Exception):
    pass


_LEFT: ContextVar[list[int]] = ContextVar("longhaul_schema_steps_left")


def _spend(steps: int) -> None:
    left = _LEFT.get()
    left[0] -= steps
    if left[0] < 0:
        raise _TooManyStepsError


Keyword = Callable[[Any, Any, Any, Any], Any]


def _counted(keyword: Keyword) -> Keyword:
    def look(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        _spend(1 + (_size(value) + _size(instance)) // 50)
        for fault in keyword(validator, value, instance, schema) or ():
            # each holds the whole data in writing, and an `anyOf` keeps the faults of all its options
            _spend(len(fault.message) // 100)
            yield fault

    return look


def _size(value: Any) -> int:
    """How much a keyword may look through by itself, as `enum` and `required` do."""
    return len(value) if isinstance(value, list | dict) else 0


@cache
def _bounded(stock: Any) -> Any:
    """jsonschema's class of a dialect, with keywords that count."""
    keywords = {name: _counted(keyword) for name, keyword in stock.VALIDATORS.items()}
    extended: Any = extend  # jsonschema's has no types
    return extended(stock, {**keywords, "pattern": _counted(_pattern), "uniqueItems": _counted(_unique_items)})


def _pattern(_validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, str):
        return
    _spend(len(instance) // 10)
    if len(instance) > LONGEST_MATCHED:
        yield ValidationError(f"has {len(instance)} characters; {LONGEST_MATCHED} are the most for a `pattern`")
    elif not _matcher(pattern).isinstance_python(instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


@lru_cache(16)  # each may take ten megabytes
def _matcher(pattern: str) -> SchemaValidator:
    return SchemaValidator(core_schema.str_schema(pattern=pattern))


def _unique_items(_validator: Any, wanted: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    """jsonschema's own compares each object with each other one."""
    if not wanted or not isinstance(instance, list):
        return
    _spend(len(instance))
    if len({_hashable(item) for item in instance}) < len(instance):
        yield ValidationError("has items that are equal")


def _hashable(value: Any) -> Any:
    """Equal for what JSON Schema calls equal: 1 and 1.0, not 1 and true."""
    match value:
        case list():
            return ("array", tuple(_hashable(item) for item in value))
        case dict():
            return ("object", frozenset((name, _hashable(item)) for name, item in value.items()))
        case bool() | None:
            return ("word", value)
        case _:
            return value


def _said(fault: ValidationError) -> str:
    fault = best_match([fault]) or fault  # of `anyOf`, the option that came nearest
    place = "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault.absolute_path)
    return f"{_cut(place, LONGEST_PLACE)}: {_cut(fault.message, LONGEST_FAULT)}"


def _cut(text: str, most: int) -> str:
    """Both ends: a message begins with the data, which may be long, and ends with what is wrong with it."""
    return text if len(text) <= most else f"{text[: most // 3]} … {text[-(most * 2 // 3 - 3) :]}"
