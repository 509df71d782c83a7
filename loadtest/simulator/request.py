"""Reads the body of a chat call as strictly as a provider does, so that a client's mistakes show here."""

import re
from dataclasses import dataclass, field
from typing import Any

import orjson

ROLES = ("system", "developer", "user", "assistant", "tool")
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class RefusedError(Exception):
    """A request that is answered with an OpenAI-shaped error.

    `status` is the HTTP status, `param` the field that is wrong, `code` what a program may test for.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.kind = kind
        self.param = param
        self.code = code
        self.headers: list[tuple[bytes, bytes]] = []


@dataclass(frozen=True, slots=True)
class AskedCall:
    """A tool call that an assistant message of the request holds."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    role: str
    text: str
    calls: tuple[AskedCall, ...] = ()
    answers: str | None = None  # the id of the tool call that a tool message answers


@dataclass(frozen=True, slots=True, eq=False)
class Tool:
    """Two are the same only if they are one: what is found out about one is remembered (`toolbox.tool_for`)."""

    name: str
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChatRequest:
    model: str
    messages: list[Message]
    tools: list[Tool]
    tool_choice: str  # "auto", "none", "required", or the name of the tool that must be called
    parallel: bool
    stream: bool
    include_usage: bool
    max_tokens: int | None
    response_schema: dict[str, Any] | None  # of a final answer that has to be JSON; None when any text will do
    tools_text: str  # the offered tools as the prompt holds them, for counting


def parse_request(body: bytes) -> ChatRequest:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise RefusedError("We could not parse the JSON body of your request.") from None
    if not isinstance(data, dict):
        raise RefusedError("The body of a request must be a JSON object.")
    model = data.get("model")
    if not isinstance(model, str) or not model:
        raise RefusedError("you must provide a model parameter", param="model")
    stream = _flag(data, "stream", default=False)
    options = data.get("stream_options")
    if options is not None and not stream:
        raise RefusedError(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
        )
    if options is not None and not isinstance(options, dict):
        raise _wrong_type("stream_options", "an object")
    if data.get("n") not in (None, 1):
        raise RefusedError("The simulator gives one choice: 'n' must be 1.", param="n")
    tools, tools_text = _tools(data.get("tools"))
    return ChatRequest(
        model=model,
        messages=_messages(data.get("messages")),
        tools=tools,
        tool_choice=_tool_choice(data.get("tool_choice"), tools),
        parallel=_flag(data, "parallel_tool_calls", default=True),
        stream=stream,
        include_usage=bool(options and options.get("include_usage")),
        max_tokens=_max_tokens(data),
        response_schema=_response_schema(data.get("response_format")),
        tools_text=tools_text,
    )


def _wrong_type(param: str, wanted: str) -> RefusedError:
    return RefusedError(f"Invalid type for '{param}': expected {wanted}.", param=param, code="invalid_type")


def _flag(data: dict[str, Any], name: str, *, default: bool) -> bool:
    value = data.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise _wrong_type(name, "a boolean")
    return value


def _max_tokens(data: dict[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        value = data.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool):
            raise _wrong_type(name, "an integer")
        if value < 1:
            raise RefusedError(
                f"Invalid value for '{name}': expected an integer of 1 or more, got {value}.",
                param=name,
                code="integer_below_min_value",
            )
        return value
    return None


def _messages(raw: object) -> list[Message]:
    if not isinstance(raw, list):
        raise _wrong_type("messages", "an array of objects")
    if not raw:
        raise RefusedError(
            "Invalid 'messages': empty array. Expected an array with minimum length 1.",
            param="messages",
            code="empty_array",
        )
    messages = [_message(item, f"messages[{index}]") for index, item in enumerate(raw)]
    _check_answers(messages)
    return messages


def _message(raw: object, at: str) -> Message:
    if not isinstance(raw, dict):
        raise _wrong_type(at, "an object")
    role = raw.get("role")
    if role not in ROLES:
        raise RefusedError(
            f"Invalid value for '{at}.role': {role!r}. Supported values are: {', '.join(ROLES)}.",
            param=f"{at}.role",
            code="invalid_value",
        )
    asked = raw.get("tool_calls") if role == "assistant" else None
    if asked is not None and not isinstance(asked, list):
        raise _wrong_type(f"{at}.tool_calls", "an array")
    calls = tuple(_asked_call(call, at) for call in asked or ())
    content = raw.get("content")
    if content is None and role != "assistant":
        raise _wrong_type(f"{at}.content", "a string or an array of parts")
    answers = raw.get("tool_call_id")
    if role == "tool" and not isinstance(answers, str):
        raise RefusedError(f"Missing required parameter: '{at}.tool_call_id'.", param=f"{at}.tool_call_id")
    return Message(role, _text(content, f"{at}.content"), calls, answers if role == "tool" else None)


def _text(content: object, at: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise _wrong_type(at, "a string or an array of parts")
    parts = []
    for part in content:
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise _wrong_type(at, "an array of parts with a type")
        if part["type"] == "text":
            if not isinstance(part.get("text"), str):
                raise _wrong_type(f"{at}.text", "a string")
            parts.append(part["text"])
    return "\n".join(parts)


def _asked_call(raw: object, at: str) -> AskedCall:
    function = raw.get("function") if isinstance(raw, dict) else None
    if isinstance(raw, dict) and isinstance(function, dict):
        call_id, name, arguments = raw.get("id"), function.get("name"), function.get("arguments")
        if isinstance(call_id, str) and isinstance(name, str) and isinstance(arguments, str):
            return AskedCall(call_id, name, arguments)
    raise _wrong_type(f"{at}.tool_calls", "an array of calls with id, function.name and function.arguments as strings")


def _check_answers(messages: list[Message]) -> None:
    """Every tool call is answered right after it and every tool message answers one: the rule that breaks a client that
    cuts a conversation in the wrong place.
    """
    waiting: set[str] = set()
    for index, message in enumerate(messages):
        if message.role == "tool":
            if message.answers not in waiting:
                raise RefusedError(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceding message with "
                    "'tool_calls'.",
                    param=f"messages[{index}].role",
                )
            waiting.discard(message.answers)
            continue
        _refuse_unanswered(waiting, index)
        waiting = {call.id for call in message.calls}
    _refuse_unanswered(waiting, len(messages))


def _refuse_unanswered(waiting: set[str], index: int) -> None:
    if waiting:
        raise RefusedError(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(sorted(waiting))}",
            param=f"messages[{index - 1}]",
        )


def _tools(raw: object) -> tuple[list[Tool], str]:
    """The tools, and their text. Under load a few lists come again and again: those are read once."""
    if raw is None:
        return [], ""
    if not isinstance(raw, list):
        raise _wrong_type("tools", "an array of objects")
    text = orjson.dumps(raw)
    known = _known_tools.get(text)
    if known is None:
        known = tuple(_tool(item, f"tools[{index}]") for index, item in enumerate(raw))
        if len(text) <= _MAX_KNOWN_BYTES:
            _known_tools[text] = known
            if len(_known_tools) > _MAX_KNOWN:
                del _known_tools[next(iter(_known_tools))]
    return list(known), text.decode() if known else ""


_known_tools: dict[bytes, tuple[Tool, ...]] = {}
_MAX_KNOWN = 64
_MAX_KNOWN_BYTES = 65_536


def _tool(raw: object, at: str) -> Tool:
    function = raw.get("function") if isinstance(raw, dict) and raw.get("type") == "function" else None
    if not isinstance(function, dict):
        raise RefusedError(f"Invalid '{at}': expected type 'function' and an object 'function'.", param=at)
    name = function.get("name")
    if not isinstance(name, str) or not _TOOL_NAME.fullmatch(name):
        raise RefusedError(
            f"Invalid '{at}.function.name': expected 1 to 64 letters, digits, underscores or dashes.",
            param=f"{at}.function.name",
            code="invalid_value",
        )
    parameters = function.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise _wrong_type(f"{at}.function.parameters", "an object")
    return Tool(name, parameters)


def _response_schema(raw: object) -> dict[str, Any] | None:
    if raw is None:
        return None
    if not isinstance(raw, dict):
        raise _wrong_type("response_format", "an object")
    match raw.get("type"):
        case "text":
            return None
        case "json_object":
            return {"type": "object", "properties": {"answer": {"type": "string"}}}
        case "json_schema":
            named = raw.get("json_schema")
            schema = named.get("schema") if isinstance(named, dict) else None
            if not isinstance(schema, dict):
                raise _wrong_type("response_format.json_schema.schema", "an object")
            return schema
        case kind:
            raise RefusedError(
                f"Invalid value for 'response_format.type': {kind!r}. Supported values are: text, json_object, "
                "json_schema.",
                param="response_format.type",
                code="invalid_value",
            )


def _tool_choice(raw: object, tools: list[Tool]) -> str:
    if raw is None:
        return "auto"
    if not tools:
        raise RefusedError(
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.",
            param="tool_choice",
        )
    if isinstance(raw, str) and raw in {"auto", "none", "required"}:
        return raw
    function = raw.get("function") if isinstance(raw, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if isinstance(name, str) and any(tool.name == name for tool in tools):
        return name
    raise RefusedError("Invalid 'tool_choice': it names no tool of this request.", param="tool_choice")
