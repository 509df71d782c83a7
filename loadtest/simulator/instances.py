"""Values that satisfy a JSON Schema: the same for the same schema, and made of what the reply would have said.

Texts hold the reply, numbers those that tools answered, wherever the schema lets them. A `pattern` is not followed, nor
is what a schema forbids by `not`, `if` or `propertyNames`.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

DEEPEST = 3
"""Levels to which what is not required is filled in, and one item stands in a list that may be empty."""
MOST_HOPS = 30
"""References and options that one value follows."""
MOST_ITEMS = 1000

_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "simulated@example.com",
    "uri": "https://example.com/simulated",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "hostname": "example.com",
}
_KINDS_BY_KEYWORD = {
    "properties": "object",
    "required": "object",
    "items": "array",
    "prefixItems": "array",
    "minItems": "array",
    "minimum": "number",
    "maximum": "number",
    "multipleOf": "number",
}
_NUMBER = re.compile(r"(?<![\w.])-?\d{1,15}(?:\.\d{1,15})?(?![\w.]*\d)")


def numbers_in(text: str) -> list[float | int]:
    return [float(found) if "." in found else int(found) for found in _NUMBER.findall(text)]


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes values for the parts of one schema. `root` is what references lead into."""

    root: Any
    text: str
    numbers: list[float | int]

    def make(self, schema: Any, depth: int = 0, turn: int = 1) -> Any:
        """`turn` counts the items of a list, so that they differ."""
        schema = self._plain(schema, depth)
        if "const" in schema:
            return schema["const"]
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            return schema["enum"][0]
        match _kind(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "integer":
                return self._number(schema, turn, whole=True)
            case "number":
                return self._number(schema, turn, whole=False)
            case "boolean":
                return True
            case "null":
                return None
            case _:
                return self._string(schema, turn)

    def broken(self, schema: Any) -> dict[str, Any]:
        """An object that does not satisfy the schema: a required property is missing, or one is of a wrong type."""
        made = self.make(schema)
        made = made if isinstance(made, dict) else {}
        plain = self._plain(schema, 0)
        required = [name for name in _list(plain, "required") if isinstance(name, str) and name in made]
        if required:
            del made[required[0]]
        else:
            name = next(iter(made), "simulated")
            made[name] = "simulated" if isinstance(made.get(name), list | dict) else [{"simulated": "wrong"}]
        return made

    def _plain(self, schema: Any, depth: int) -> dict[str, Any]:
        """The schema with references followed, `allOf` put together and one option taken."""
        plain: dict[str, Any] = {}
        waiting, hops = [schema], 0
        while waiting and hops < MOST_HOPS:
            hops += 1
            one = waiting.pop(0)
            if not isinstance(one, dict):
                continue
            merged = {**plain, **one}
            merged["properties"] = {**_dict(plain, "properties"), **_dict(one, "properties")}
            merged["required"] = [*_list(plain, "required"), *_list(one, "required")]
            plain = {name: value for name, value in merged.items() if value not in ({}, [])}
            if isinstance(one.get("$ref"), str):
                waiting.append(self._target(one["$ref"]))
            waiting += _list(one, "allOf")
            for keyword in ("anyOf", "oneOf"):
                if options := _list(one, keyword):
                    waiting.append(_option(options, depth))
        return plain

    def _target(self, reference: str) -> Any:
        found = self.root
        for part in reference.removeprefix("#").split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and name.isdecimal() and int(name) < len(found):
                found = found[int(name)]
            else:
                found = found.get(name) if isinstance(found, dict) else None
        return found

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = _dict(schema, "properties")
        names = [name for name in _list(schema, "required") if isinstance(name, str)]
        if depth < DEEPEST:
            names += [name for name, part in properties.items() if part is not False]
        made = {}
        for name in dict.fromkeys(names):
            part = properties.get(name, schema.get("additionalProperties"))
            made[name] = self.make(part, depth + 1) if depth < MOST_HOPS else None
        for number in range(1, _count(schema, "minProperties") - len(made) + 1):
            made[f"simulated{number}"] = self.make(schema.get("additionalProperties"), depth + 1)
        return made

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        first = _list(schema, "prefixItems")
        most = _count(schema, "maxItems", MOST_ITEMS)
        wanted = max(_count(schema, "minItems"), len(first))
        if not wanted and depth < DEEPEST and schema.get("items") is not False:
            wanted = 1
        if depth >= MOST_HOPS:
            wanted = 0
        parts = [*first, *[schema.get("items")] * (wanted - len(first))]
        return [self.make(part, depth + 1, turn) for turn, part in enumerate(parts[:most], 1)]

    def _string(self, schema: dict[str, Any], turn: int) -> str:
        kind = schema.get("format")
        if isinstance(kind, str) and kind in _FORMATS:
            return _FORMATS[kind]
        text = self.text if turn == 1 else f"{self.text} ({turn})"
        return text.ljust(_count(schema, "minLength"), ".")[: _count(schema, "maxLength", len(text) + 10_000)]

    def _number(self, schema: dict[str, Any], turn: int, *, whole: bool) -> float | int:
        for number in self.numbers[turn - 1 :]:
            if (isinstance(number, int) or not whole) and _fits(number, schema):
                return number
        step = _limit(schema, "multipleOf") or 1
        low, above = _limit(schema, "minimum"), _limit(schema, "exclusiveMinimum")
        high, below = _limit(schema, "maximum"), _limit(schema, "exclusiveMaximum")
        for lowest in (value for value in (low, above) if value is not None):
            number = math.ceil(lowest / step) * step
            return _as(number + step * (turn - 1 + (number == above)), whole=whole, schema=schema)
        for highest in (value for value in (high, below) if value is not None and value < step * turn):
            number = math.floor(highest / step) * step
            return _as(number - step * (turn - 1 + (number == below)), whole=whole, schema=schema)
        return _as(step * turn, whole=whole, schema=schema)


def _as(number: float, *, whole: bool, schema: dict[str, Any]) -> float | int:
    """A step of one may leap over a narrow range: the middle is in it."""
    if not whole and not _fits(number, schema):
        low = _limit(schema, "minimum"), _limit(schema, "exclusiveMinimum")
        high = _limit(schema, "maximum"), _limit(schema, "exclusiveMaximum")
        lowest, highest = max(v for v in (*low, -1e15) if v is not None), min(v for v in (*high, 1e15) if v is not None)
        return (lowest + highest) / 2
    return int(number) if number == int(number) else number


def _fits(number: float, schema: dict[str, Any]) -> bool:
    low, above = _limit(schema, "minimum"), _limit(schema, "exclusiveMinimum")
    high, below = _limit(schema, "maximum"), _limit(schema, "exclusiveMaximum")
    step = _limit(schema, "multipleOf")
    return (
        (low is None or number >= low)
        and (above is None or number > above)
        and (high is None or number <= high)
        and (below is None or number < below)
        and (not step or number % step == 0)
    )


def _limit(schema: dict[str, Any], name: str) -> float | int | None:
    value = schema.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or abs(value) >= 1e15:
        return None
    return None if name == "multipleOf" and value <= 1e-6 else value


def _kind(schema: dict[str, Any]) -> str:
    kinds = schema.get("type")
    if isinstance(kinds, list):
        kinds = next((kind for kind in kinds if kind != "null"), "null")
    if isinstance(kinds, str):
        return kinds
    return next((kind for keyword, kind in _KINDS_BY_KEYWORD.items() if keyword in schema), "string")


def _option(options: list[Any], depth: int) -> Any:
    """The first; deep down one that ends, if there is one."""
    if depth >= DEEPEST:
        for one in options:
            if isinstance(one, dict) and _kind(one) not in {"object", "array"} and "$ref" not in one:
                return one
    return options[0]


def _dict(schema: dict[str, Any], name: str) -> dict[str, Any]:
    value = schema.get(name)
    return value if isinstance(value, dict) else {}


def _list(schema: dict[str, Any], name: str) -> list[Any]:
    value = schema.get(name)
    return value if isinstance(value, list) else []


def _count(schema: dict[str, Any], name: str, default: int = 0) -> int:
    value = schema.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        return default
    return min(value, 10 * MOST_ITEMS)
