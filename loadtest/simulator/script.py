"""Answers that were written beforehand (`POST /script`): each is given once, in order, before any made-up one."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from loadtest.simulator.behaviour import Behaviour, DirectiveError, read_rule
from loadtest.simulator.dialogue import Reply, ToolCall
from loadtest.simulator.request import RefusedError

MAX_SCRIPTED = 10_000


@dataclass(frozen=True, slots=True)
class Scripted:
    """One answer to a call whose last user message holds `match`: a reply, or None for what the dialogue would say;
    `effects` are directives that hold for it.
    """

    match: str
    reply: Reply | None
    effects: Mapping[str, Any]

    def over(self, behaviour: Behaviour) -> Behaviour:
        return replace(behaviour, **self.effects) if self.effects else behaviour


class Script:
    def __init__(self) -> None:
        self._left: list[Scripted] = []

    def add(self, data: object) -> None:
        """Appends `{"answers": [{"match", "text" or "calls", "do"}]}`; a wrong one adds nothing."""
        answers = data.get("answers") if isinstance(data, dict) else None
        if not isinstance(answers, list) or len(self._left) + len(answers) > MAX_SCRIPTED:
            raise RefusedError(f"Expected {{'answers': [...]}}, {MAX_SCRIPTED} in all at most.", param="answers")
        self._left += [_read(answer, f"answers[{index}]") for index, answer in enumerate(answers)]

    def take(self, question: str) -> Scripted | None:
        """The first that is left for this message; it is not given again."""
        for index, scripted in enumerate(self._left):
            if scripted.match in question:
                return self._left.pop(index)
        return None

    def clear(self) -> None:
        self._left = []

    def as_json(self) -> dict[str, Any]:
        return {"left": len(self._left)}


def _read(data: object, at: str) -> Scripted:
    known = {"match": str, "text": str, "calls": list, "do": str}
    if not isinstance(data, dict) or not data:
        raise RefusedError(f"Expected '{at}' to be an object with one of text, calls and do.", param=at)
    for name, value in data.items():
        if name not in known or not isinstance(value, known[name]):
            raise RefusedError(f"Expected '{at}' to have {', '.join(known)}; not '{name}' as given.", param=at)
    if not data.keys() & {"text", "calls", "do"} or {"text", "calls"} <= data.keys():
        raise RefusedError(f"Expected '{at}' to have text or calls, or only do.", param=at)
    try:
        rule = read_rule(data.get("do", ""))
    except DirectiveError as error:
        raise RefusedError(f"{at}: {error}", param=f"{at}.do", code="simulator_directive") from None
    if rule.step is not None or rule.times is not None:
        raise RefusedError(f"{at}: it is given once; step and times have no place in it.", param=f"{at}.do")
    reply = None
    if "calls" in data:
        reply = Reply(calls=tuple(_call(call, f"{at}.calls[{index}]") for index, call in enumerate(data["calls"])))
    elif "text" in data:
        reply = Reply(data["text"])
    return Scripted(data.get("match", ""), reply, rule.effects)


def _call(data: object, at: str) -> ToolCall:
    if not isinstance(data, dict) or data.keys() != {"name", "arguments"} or not isinstance(data["name"], str):
        raise RefusedError(f"Expected '{at}' to be {{'name': ..., 'arguments': {{...}}}}.", param=at)
    return ToolCall(f"call_{os.urandom(12).hex()}", data["name"], orjson.dumps(data["arguments"]).decode())
