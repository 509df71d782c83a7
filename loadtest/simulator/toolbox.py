"""Which offered tool serves a need, and with which arguments: judged by the names and schemas in the request."""

from functools import lru_cache
from typing import Any

from loadtest.simulator.intents import Kind, Need
from loadtest.simulator.request import Tool

_NAMES = {
    Kind.CALCULATOR: ("calc", "math", "arith", "eval", "compute"),
    Kind.TIME: ("time", "clock", "date", "now"),
    Kind.SEARCH: ("search", "lookup", "google", "tavily", "searx"),
    Kind.FETCH: ("fetch", "browse", "read_url", "http_get"),
    Kind.DATABASE: ("database", "sql"),
}
_ARGUMENTS = {
    Kind.CALCULATOR: ("expression", "expr", "formula", "input", "query", "text"),
    Kind.TIME: ("timezone", "time_zone", "tz", "zone"),
    Kind.SEARCH: ("query", "q", "search_query", "question", "keywords", "input", "text"),
    Kind.FETCH: ("url", "address", "link", "uri", "input"),
    Kind.DATABASE: ("sql", "query", "statement", "input"),
}


@lru_cache(maxsize=1024)
def tool_for(kind: Kind, tools: tuple[Tool, ...]) -> Tool | None:
    """The tool of that very name, else the first whose name says it can; one that cannot take the value is no match."""
    able = [tool for tool in tools if kind is Kind.TIME or _argument(kind, tool) is not None]
    for tool in able:
        if tool.name == kind:
            return tool
    return next((tool for tool in able if any(part in tool.name.lower() for part in _NAMES[kind])), None)


def arguments_for(need: Need, tool: Tool) -> dict[str, Any]:
    """Arguments that carry the need, with every other required one filled so that the schema is kept."""
    filled = sample_arguments(tool)
    name = _argument(need.kind, tool)
    if name is not None and need.value:
        filled[name] = need.value
    return filled


def sample_arguments(tool: Tool, turn: int = 1) -> dict[str, Any]:
    """Valid, harmless arguments for any tool: the required ones of its schema, by their types."""
    properties = _properties(tool)
    return {name: _sample(properties.get(name, {}), name, turn) for name in _required(tool)}


def _required(tool: Tool) -> list[str]:
    """A schema may be anything: what isn't a name is left out."""
    required = tool.parameters.get("required")
    return [name for name in required if isinstance(name, str)] if isinstance(required, list) else []


def _properties(tool: Tool) -> dict[str, Any]:
    properties = tool.parameters.get("properties")
    return properties if isinstance(properties, dict) else {}


def _argument(kind: Kind, tool: Tool) -> str | None:
    """The name of the string argument that takes the need's value."""
    properties = _properties(tool)
    texts = [name for name, schema in properties.items() if "string" in _types(schema)]
    required = [name for name in texts if name in _required(tool)]
    for wanted in _ARGUMENTS[kind]:
        if wanted in texts:
            return wanted
    if kind is Kind.TIME:
        return None
    return next(iter(required or texts), None)


def _types(schema: object) -> list[str]:
    if not isinstance(schema, dict):
        return []
    kinds = schema.get("type")
    if isinstance(kinds, str):
        return [kinds]
    if isinstance(kinds, list):
        return [kind for kind in kinds if isinstance(kind, str)]
    options = schema.get("anyOf")
    return [kind for option in options for kind in _types(option)] if isinstance(options, list) else []


def _sample(schema: object, name: str, turn: int) -> Any:
    if isinstance(schema, dict):
        choices = schema.get("enum")
        if isinstance(choices, list) and choices:
            return choices[0]
        if "default" in schema:
            return schema["default"]
    kinds = _types(schema)
    if "integer" in kinds or "number" in kinds:
        return turn
    if "boolean" in kinds:
        return False
    if "array" in kinds:
        return []
    if "object" in kinds:
        return {}
    return f"{turn} + {turn}" if name in _ARGUMENTS[Kind.CALCULATOR][:3] else f"simulated {turn}"
