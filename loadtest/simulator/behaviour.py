"""How a call is answered, and the directives that say so: `[[delay=2]]`, `[[times=1 status=429 retry_after=2]]`."""

import difflib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from loadtest.simulator.latency import NONE, Latency, read_latency
from loadtest.simulator.provider_errors import PROVIDER_ERRORS


class Fault(StrEnum):
    """Ways to answer badly with status 200, or not at all."""

    HANG = "hang"  # no byte, ever
    STALL = "stall"  # half of the answer, then silence on an open connection
    HALF = "half"  # half of the bytes, then the connection is closed
    BROKEN_STREAM = "broken_stream"  # half of the events, then the connection is closed
    EARLY_END = "early_end"  # half of the events and a proper end of the body: no finish_reason, no [DONE]
    BROKEN_JSON = "broken_json"  # a body, or one event of a stream, that is not JSON
    ERROR_BODY = "error_body"  # an error object under status 200
    EMPTY = "empty"  # an answer with no text and no call
    BAD_ARGUMENTS = "bad_arguments"  # tool calls whose arguments are not JSON
    SLOW_DRIP = "slow_drip"  # one byte at a time


class Output(StrEnum):
    """Ways to give an answer as data otherwise than was asked for."""

    WRONG = "wrong"  # a required property is missing, or one is of a wrong type
    TEXT = "text"  # the right JSON as text, and no call of the tool
    FENCED = "fenced"  # the same in a fence, with words around it
    PROSE = "prose"  # words, no JSON


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Everything that may be asked for; the defaults are a quick, well-behaved model. Times are in seconds."""

    delay: Latency = NONE  # before the status line
    first_token: Latency = NONE  # from there to the first token
    tokens_per_second: float = 0.0  # 0: as fast as it goes
    status: int | None = None
    retry_after: float | None = None
    error: str | None = None  # a name of provider_errors.toml
    error_rate: float | None = None  # share of the calls that status or error is for, or a 500; None: all of them
    hang_rate: float = 0.0  # share that gets no byte, ever
    fault: Fault | None = None
    drip: float = 1.0  # between the bytes of a slow drip
    cut: bool = False
    loop: bool = False
    tool_calls: int | None = None
    tools: tuple[tuple[str, ...], ...] | None = None  # by step: the tools that it calls at once
    tokens: int | None = None
    hold_token: int | None = None  # of a stream: this token waits for a POST /release
    hold_each: bool = False  # every token after the first does
    output: Output | None = None
    cached: int | None = None
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """One block of directives: what it sets, for which step of a turn and for how many calls (None: all)."""

    effects: dict[str, Any]
    step: int | None = None
    times: int | None = None


class DirectiveError(ValueError):
    """A directive that is misspelt or has an impossible value. The message says which and what would be right."""


def _number(low: float, high: float) -> Callable[[str], float]:
    def read(value: str) -> float:
        number = float(value)
        if not math.isfinite(number) or not low <= number <= high:
            raise ValueError(f"a number from {low:g} to {high:g}")
        return number

    return read


def _integer(low: int, high: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        number = int(value)
        if not low <= number <= high:
            raise ValueError(f"an integer from {low} to {high}")
        return number

    return read


def _error_name(value: str) -> str:
    if value not in PROVIDER_ERRORS:
        near = difflib.get_close_matches(value, PROVIDER_ERRORS, n=1)
        raise ValueError(f"{near[0]!r}, perhaps" if near else f"one of {', '.join(PROVIDER_ERRORS)}")
    return value


def _tools(value: str) -> tuple[tuple[str, ...], ...]:
    steps = tuple(tuple(step.split("+")) for step in value.split(","))
    if not all(_TOOL.fullmatch(name) for step in steps for name in step):
        raise ValueError("names of tools: a comma between steps, + between calls of one step, as in search,search+calc")
    return steps


def _output(value: str) -> Output:
    if value not in set(Output):
        raise ValueError(f"one of {', '.join(Output)}")
    return Output(value)


_TOOL = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_SECONDS = _number(0, 86_400)
_VALUES: dict[str, Callable[[str], Any]] = {
    "delay": read_latency,
    "first_token": read_latency,
    "tokens_per_second": _number(0, 1_000_000),
    "status": _integer(400, 599),
    "retry_after": _SECONDS,
    "error": _error_name,
    "error_rate": _number(0, 1),
    "hang_rate": _number(0, 1),
    "tool_calls": _integer(0, 1000),
    "tools": _tools,
    "output": _output,
    "tokens": _integer(1, 500_000),
    "hold_token": _integer(1, 500_000),
    "cached": _integer(0, 10_000_000),
    "reasoning": _integer(0, 10_000_000),
    "step": _integer(1, 10_000),
    "times": _integer(0, 1_000_000),
    "slow_drip": _SECONDS,
}
_SWITCHES: dict[str, dict[str, Any]] = {fault.value: {"fault": fault} for fault in Fault} | {
    "cut": {"cut": True},
    "loop": {"loop": True},
    "hold_each": {"hold_each": True},
}
DIRECTIVES = tuple(dict.fromkeys([*_VALUES, *_SWITCHES]))

_BLOCK = re.compile(r"\[\[([^\[\]]{1,400})\]\]")
_ASSIGNMENT = re.compile(r"[a-z_]+=\S+")


def read_rule(text: str) -> Rule:
    """The rule that a block's inside says, such as `times=1 status=500`; raises DirectiveError."""
    effects: dict[str, Any] = {}
    limits: dict[str, int] = {}
    for word in text.split():
        name, given, value = word.partition("=")
        if not given and name in _SWITCHES:
            effects |= _SWITCHES[name]
        elif given and name in _VALUES:
            parsed = _parsed(name, value)
            if name in {"step", "times"}:
                limits[name] = parsed
            elif name == "slow_drip":
                effects |= {"fault": Fault.SLOW_DRIP, "drip": parsed}
            else:
                effects[name] = parsed
        elif name in _VALUES:
            raise DirectiveError(f"the directive {name!r} needs a value, as in [[{name}=1]]")
        elif name in _SWITCHES:
            raise DirectiveError(f"the directive {name!r} takes no value")
        else:
            near = difflib.get_close_matches(name, DIRECTIVES, n=1)
            raise DirectiveError(f"no directive is called {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    return Rule(effects, **limits)


def _parsed(name: str, value: str) -> Any:
    try:
        return _VALUES[name](value)
    except ValueError as error:
        wanted = str(error) if "literal" not in str(error) and "convert" not in str(error) else "a number"
        raise DirectiveError(f"the directive {name}={value} should be {wanted}") from None


def read_directives(text: str) -> list[Rule]:
    """The rules in a message. Double brackets that are prose (`[[1, 2]]`, `[[Some page]]`) are left alone, but a block
    of assignments is always meant for us, so a misspelt one raises DirectiveError instead of being talked over.
    """
    return [read_rule(match[1]) for match in _BLOCK.finditer(text) if _is_directive(match[1])]


def without_directives(text: str) -> str:
    """The message as its author would say it to a person."""
    return _BLOCK.sub(lambda match: "" if _is_directive(match[1]) else match.group(), text).strip()


def _is_directive(inside: str) -> bool:
    words = inside.split()
    if not words:
        return False
    return words[0].partition("=")[0] in DIRECTIVES or all(_ASSIGNMENT.fullmatch(word) for word in words)
