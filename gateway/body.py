"""Reading JSON bodies: bounded before they are read whole, strict in what is JSON, and plain about what is wrong."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine
from email.message import Message as MimeHeader
from typing import Any

import orjson
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from .noted import noted_of
from .problems import Problem
from .running import gateway_of

MAX_DEPTH = 32
"""Nesting of a body; only `metadata`, `input` and `output_schema` nest at all."""
DRAIN_BYTES = 8 * 1024 * 1024
DRAIN_S = 2.0
BOM = b"\xef\xbb\xbf"
LONGEST_INTEGER = 20
NUL = b"\\u0000"
PLAIN_JSON = "application/json"
"""The content type that nearly all clients send, as they spell it."""


class JsonRoute(APIRoute):
    """A route whose body is read by our rules; FastAPI then validates what was read."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle
        required = self.body_field.field_info.is_required()

        async def read_and_handle(request: Request) -> Response:
            json_request = JsonRequest(request.scope, request.receive)
            if required or _brings_body(request):
                await json_request.load(gateway_of(request).settings.max_body_bytes)
            return await handle(json_request)

        return read_and_handle


class JsonRequest(Request):
    _raw = b""
    _value: Any = None
    _was_read = False

    async def load(self, limit: int) -> None:
        """Reads at most `limit` bytes. Raises Problem: body_too_large, unsupported_media_type, invalid_json."""
        content_type = self.headers.get("content-type", "")
        if content_type != PLAIN_JSON:
            _demand_json(content_type)
        declared = self.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            raise BodyTooLarge(limit)
        body = bytearray()
        async for chunk in self.stream():
            body += chunk
            if len(body) > limit:
                raise BodyTooLarge(limit)
        self._raw, self._was_read = bytes(body), True
        self._value = parse(self._raw)

    async def body(self) -> bytes:
        return self._raw

    async def json(self) -> Any:
        return self._value

    async def again(self) -> Message:
        """`receive` for who reads the request after this one did: the body first, if it was read."""
        if self._was_read:
            self._was_read = False
            return {"type": "http.request", "body": self._raw, "more_body": False}
        return await self.receive()


class BodyTooLarge(Problem):
    def __init__(self, limit: int) -> None:
        super().__init__(
            "body_too_large", f"The body may hold {limit} bytes at most.", headers={"Connection": "close"}, limit=limit
        )

    def response(self) -> Response:
        return LingeringResponse(super().response(), self.code)


class LingeringResponse(Response):
    """Sends its answer at once, then throws away some of what the client still sends, then closes.

    Closing at once with unread bytes makes the kernel send a reset, which can destroy the answer before it was read.
    """

    def __init__(self, answer: Response, code: str) -> None:
        super().__init__(answer.body, answer.status_code)
        self.raw_headers = answer.raw_headers
        self._code = code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        noted_of(scope).problem = self._code
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        left = DRAIN_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while left > 0:
                    message = await receive()
                    left -= len(message.get("body", b""))
                    if message["type"] != "http.request" or not message.get("more_body", False):
                        break
        await send({"type": "http.response.body", "body": b""})


def _brings_body(request: Request) -> bool:
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers


def _demand_json(content_type: str) -> None:
    """JSON only: a web page can send other types across origins without asking first."""
    header = MimeHeader()
    header["content-type"] = content_type
    subtype = header.get_content_type().partition("/")[2] if content_type else ""
    charset = str(header.get_param("charset", "utf-8")).lower()
    is_json = header.get_content_maintype() == "application" and (subtype == "json" or subtype.endswith("+json"))
    if not is_json or charset not in {"utf-8", "utf8", "us-ascii"}:
        raise Problem(
            "unsupported_media_type", "Send the body as JSON in UTF-8, with `Content-Type: application/json`."
        )


def parse(body: bytes) -> Any:
    """The value. Refuses what JSON readers disagree on: names given twice, NaN, half characters, NUL, deep nesting."""
    if not body.strip():
        raise _invalid_json("The body is empty; send a JSON object.")
    try:
        value = orjson.loads(body.removeprefix(BOM))
    except orjson.JSONDecodeError as error:
        said = str(error)
        if "not valid UTF-8" in said:
            said = "it is not UTF-8"
        elif "surrogate" in said:
            said = "it holds half of a surrogate pair, which is no character; send the whole character"
        elif "depth" in said:
            said = f"it is nested deeper than {MAX_DEPTH} levels"
        raise _invalid_json(f"The body is not valid JSON: {said}.") from None
    if _depth_exceeds(value, MAX_DEPTH):
        raise _invalid_json(f"The body is nested deeper than {MAX_DEPTH} levels.")
    # orjson keeps the last of two equal names; this second look costs microseconds, and its depth is bounded by now
    _STRICT.decode(body.removeprefix(BOM).decode())
    if NUL in body and _holds_nul(value):
        raise _invalid_json("The body holds a NUL character (\\u0000), which no text here may.")
    return value


def _invalid_json(detail: str) -> Problem:
    return Problem("invalid_json", detail, errors=[{"loc": ["body"], "msg": detail, "type": "json_invalid"}])


def _once(pairs: list[tuple[str, Any]]) -> None:
    names = set()
    for name, _ in pairs:
        if name in names:
            raise _invalid_json(f"The name {name[:50]!r} stands twice in one object; give it once.")
        names.add(name)


def _whole(digits: str) -> None:
    """orjson would make a float of a larger one, which is another number."""
    if len(digits) > LONGEST_INTEGER or not -(2**63) <= int(digits) < 2**64:
        raise _invalid_json(f"The integer {digits[:30]} takes more than 64 bits; send it as a text.")


_STRICT = json.JSONDecoder(object_pairs_hook=_once, parse_int=_whole, parse_float=len)


def _depth_exceeds(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most + 1):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return False
    return True


def _holds_nul(value: Any) -> bool:
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, str) and "\x00" in one:
            return True
        if isinstance(one, dict):
            todo.extend(one)
        todo.extend(_children(one))
    return False


def _children(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
