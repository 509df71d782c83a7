"""The OpenAI wire format: a reply as a completion object or as the events of a stream, with its usage."""

import os
import time
from dataclasses import dataclass, replace
from typing import Any

import orjson

from loadtest.simulator.behaviour import Behaviour, Fault
from loadtest.simulator.dialogue import Reply, ToolCall
from loadtest.simulator.request import ChatRequest, Message
from loadtest.simulator.tokens import count_tokens, split_tokens

FINGERPRINT = "simulated"
MODEL = "simulator"
DONE = b"data: [DONE]\n\n"

_TOKENS_A_MESSAGE = 4
_CACHE_BLOCK = 64
_FILLER = " simulated"
_PLACE = "<the text of a token>"
_PLACE_JSON = orjson.dumps(_PLACE)


@dataclass(frozen=True, slots=True)
class Usage:
    prompt: int
    completion: int
    cached: int
    reasoning: int

    def as_json(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": self.cached},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning},
        }


class Answer:
    """The reply to a prompt of `prompt` tokens, cut to its limit, ready to be sent in one piece or as events."""

    def __init__(self, request: ChatRequest, reply: Reply, behaviour: Behaviour, prompt: int) -> None:
        self._stream_usage = request.include_usage
        self._head = {
            "id": f"chatcmpl-sim{os.urandom(12).hex()}",
            "created": int(time.time()),
            "model": answered_model(request.model),
            "system_fingerprint": FINGERPRINT,
        }
        reply = _shaped(reply, behaviour)
        spoken = _spoken_tokens(reply)
        limit = request.max_tokens
        if behaviour.cut:
            limit = min(limit or spoken, max(1, spoken // 2))
        self.reply = reply
        self.finish_reason = "tool_calls" if reply.calls else "stop"
        if limit is not None and spoken > limit:
            self.reply, spoken, self.finish_reason = _limited(reply, limit), limit, "length"
        cached = _cached_tokens(request) if behaviour.cached is None else min(behaviour.cached, prompt)
        self.usage = Usage(prompt, spoken + behaviour.reasoning, cached, behaviour.reasoning)

    def body(self) -> bytes:
        message: dict[str, Any] = {"role": "assistant", "content": self.reply.text, "refusal": None}
        if self.reply.calls:
            message["content"] = None
            message["tool_calls"] = [_call_json(call, call.arguments) for call in self.reply.calls]
        return orjson.dumps(
            {
                **self._head,
                "object": "chat.completion",
                "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish_reason}],
                "usage": self.usage.as_json(),
            }
        )

    def events(self) -> tuple[list[bytes], list[bytes]]:
        """The events that carry the reply, about one a token, and those that close the stream."""
        content: list[bytes] = []
        if not self.reply.calls:
            content.append(self._event({"role": "assistant", "content": "", "refusal": None}))
            # one event made in full, and its text put in: an answer has hundreds of them
            before, _, after = self._event({"content": _PLACE}).partition(_PLACE_JSON)
            content += [before + orjson.dumps(piece) + after for piece in split_tokens(self.reply.text)]
        for index, call in enumerate(self.reply.calls):
            begun = {"tool_calls": [{"index": index, **_call_json(call, "")}]}
            content.append(self._event({"role": "assistant", "content": None, **begun} if not index else begun))
            content += [
                self._event({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
                for piece in split_tokens(call.arguments)
            ]
        closing = [self._event({}, self.finish_reason)]
        if self._stream_usage:
            closing.append(self._chunk([], self.usage.as_json()))
        return content, [*closing, DONE]

    def _event(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        return self._chunk([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}], None)

    def _chunk(self, choices: list[dict[str, Any]], usage: dict[str, Any] | None) -> bytes:
        chunk = {**self._head, "object": "chat.completion.chunk", "choices": choices}
        if self._stream_usage:
            chunk["usage"] = usage
        return b"data: " + orjson.dumps(chunk) + b"\n\n"


def answered_model(asked: str) -> str:
    """The model's name in an answer always says what it is, whatever name it was asked by."""
    return asked if "simulat" in asked.lower() else f"simulated-{asked}"


def prompt_tokens(request: ChatRequest) -> int:
    return sum(map(_message_tokens, request.messages)) + count_tokens(request.tools_text)


def error_body(message: str, kind: str, param: str | None = None, code: str | None = None) -> bytes:
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})


def _message_tokens(message: Message) -> int:
    called = sum(count_tokens(call.name) + count_tokens(call.arguments) for call in message.calls)
    return _TOKENS_A_MESSAGE + count_tokens(message.text) + called


def _cached_tokens(request: ChatRequest) -> int:
    """What an earlier call of this conversation sent too, in whole blocks, as providers' prefix caches count it."""
    last = max((i for i, message in enumerate(request.messages) if message.role == "assistant"), default=0)
    before = sum(map(_message_tokens, request.messages[:last]))
    if before:
        before += count_tokens(request.tools_text)
    return before // _CACHE_BLOCK * _CACHE_BLOCK


def _shaped(reply: Reply, behaviour: Behaviour) -> Reply:
    """The reply after what the behaviour does to its content."""
    if behaviour.fault is Fault.EMPTY:
        return Reply()
    if behaviour.fault is Fault.BAD_ARGUMENTS:
        return Reply(reply.text, tuple(replace(call, arguments=call.arguments[:-1]) for call in reply.calls))
    if behaviour.tokens is not None and not reply.calls:
        pieces = split_tokens(reply.text)[: behaviour.tokens]
        while len(pieces) < behaviour.tokens:
            pieces += split_tokens(_FILLER * (behaviour.tokens - len(pieces)))[: behaviour.tokens - len(pieces)]
        return Reply("".join(pieces))
    return reply


def _spoken_tokens(reply: Reply) -> int:
    return count_tokens(reply.text) + sum(
        count_tokens(call.name) + count_tokens(call.arguments) for call in reply.calls
    )


def _limited(reply: Reply, limit: int) -> Reply:
    """The reply's first `limit` tokens, as a model that runs into its limit leaves it: in the middle of anything."""
    if not reply.calls:
        return Reply("".join(split_tokens(reply.text)[:limit]))
    calls: list[ToolCall] = []
    for call in reply.calls:
        left = limit - count_tokens(call.name)
        if left <= 0 and calls:
            break
        kept = split_tokens(call.arguments)[: max(left, 0)]
        calls.append(replace(call, arguments="".join(kept)))
        limit = left - len(kept)
    return Reply(calls=tuple(calls))


def _call_json(call: ToolCall, arguments: str) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}
