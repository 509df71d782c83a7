"""The simulator's command line."""

import argparse
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from loadtest.simulator.behaviour import Behaviour, DirectiveError, read_rule
from loadtest.simulator.latency import Latency, read_option
from loadtest.simulator.limits import LONGEST_WINDOW, MOST, Quota


@dataclass(frozen=True, slots=True)
class Options:
    host: str
    port: int
    behaviour: Behaviour
    quota: Quota
    seed: int
    context_window: int
    journal_size: int
    keep_messages: bool
    check: bool


def read_options(argv: Sequence[str] | None) -> Options:
    """Exits with code 2 and a line on stderr for what cannot be."""
    parser = _parser()
    given = parser.parse_args(argv)
    effects: dict[str, Any] = {}
    for words in given.do:
        try:
            rule = read_rule(words)
        except DirectiveError as error:
            parser.error(f"argument --do: {error}")
        if rule.step is not None or rule.times is not None:
            parser.error("argument --do: it holds for every call; for step and times use PUT /control")
        effects |= rule.effects
    for name in ("delay", "first_token", "tokens_per_second", "error_rate", "hang_rate"):
        value = getattr(given, name)
        if value is not None:
            effects[name] = value
    return Options(
        given.host,
        given.port,
        replace(Behaviour(), **effects),
        Quota(given.rpm, given.rpm_window, given.concurrent),
        secrets.randbits(32) if given.seed is None else given.seed,
        given.context_window,
        given.journal_size,
        given.keep_messages,
        given.check,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.simulator",
        description="A simulated model behind an OpenAI-compatible API. TIME is seconds, normal:MEAN:DEVIATION, "
        "lognormal:P50:P99 or recorded:FILE (seconds, one a line).",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=8010, help="port, 0 for a free one (default: %(default)s)")
    add("--latency", dest="delay", type=_time, metavar="TIME", help="before every answer (default: 0)")
    add("--first-token", type=_time, metavar="TIME", help="from there to the first token (default: 0)")
    rate = _number(0, 1_000_000)
    add("--tokens-per-second", type=rate, metavar="NUMBER", help="pace of an answer (default: 0, none)")
    add("--error-rate", type=_number(0, 1), metavar="SHARE", help="calls that fail, 0 to 1 (default: 0)")
    add("--hang-rate", type=_number(0, 1), metavar="SHARE", help="calls that get no byte, ever (default: 0)")
    add("--rpm", type=_count, metavar="NUMBER", help="requests a minute; more answer 429 (default: no limit)")
    add(
        "--rpm-window", type=_number(0.01, LONGEST_WINDOW), default=60.0, metavar="SECONDS",
        help="time over which --rpm holds (default: 60)",
    )  # fmt: skip
    add("--concurrent", type=_count, metavar="NUMBER", help="calls at once; more answer 429 (default: no limit)")
    add(
        "--do", action="append", default=[], metavar="DIRECTIVES",
        help="for every call, such as 'error_rate=0.1 status=503'; may be given again",
    )  # fmt: skip
    add("--seed", type=_seed, help="makes what is left to chance repeatable (default: a new one)")
    add("--context-window", type=_count, default=131_072, help="longest prompt, in tokens (default: %(default)s)")
    add("--journal-size", type=_count, default=10_000, help="calls that the journal keeps (default: %(default)s)")
    add("--keep-messages", action="store_true", help="keep all messages of a call in the journal (default: an excerpt)")
    add("--check", action="store_true", help="only say whether the options can be used, and end")
    return parser


def _time(text: str) -> Latency:
    try:
        return read_option(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected {error}") from None


def _number(low: float, high: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"expected a number from {low:g} to {high:g}, got {text!r}")
        return number

    return read


def _integer(text: str, low: int, high: int) -> int:
    if not text.isdecimal() or not low <= int(text) <= high:
        raise argparse.ArgumentTypeError(f"expected an integer from {low} to {high}, got {text!r}")
    return int(text)


def _count(text: str) -> int:
    return _integer(text, 1, MOST)


def _seed(text: str) -> int:
    return _integer(text, 0, 2**63 - 1)
