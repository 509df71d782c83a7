"""Decides how a call is answered: the server's defaults, then the control rules, then the message's own directives."""

import hashlib
from collections import OrderedDict
from dataclasses import replace
from typing import Any

from loadtest.simulator.behaviour import Behaviour, DirectiveError, Rule, read_directives, read_rule
from loadtest.simulator.request import RefusedError

MAX_CONTROL_RULES = 1000
MAX_COUNTED_MESSAGES = 10_000


class ControlRule:
    """A rule that `PUT /control` set: it holds for messages with `match` in them, while `times` are left."""

    def __init__(self, match: str, do: str, rule: Rule) -> None:
        self.match = match
        self.do = do
        self.rule = rule
        self.used = 0

    def as_json(self) -> dict[str, Any]:
        return {"match": self.match, "do": self.do, "times": self.rule.times, "used": self.used}


class Rules:
    def __init__(self, defaults: Behaviour) -> None:
        self._defaults = defaults
        self._control: list[ControlRule] = []
        # How often each counted block of each message was used; the one not seen for longest goes first.
        self._used: OrderedDict[tuple[str, int], int] = OrderedDict()

    def decide(self, question: str, question_hash: str, step: int) -> Behaviour:
        """The behaviour for a call, counting the rules that it uses up; raises RefusedError for a wrong directive."""
        effects: dict[str, Any] = {}
        for control in self._control:
            if control.match in question and _applies(control.rule, step, control.used):
                control.used += 1
                effects |= control.rule.effects
        try:
            directives = read_directives(question) if "[[" in question else ()
        except DirectiveError as error:
            raise RefusedError(f"Simulator: {error}", code="simulator_directive") from None
        for index, rule in enumerate(directives):
            if rule.times is None:
                applies = _applies(rule, step, 0)
            else:
                key = (question_hash, index)
                used = self._used.pop(key, 0)
                applies = _applies(rule, step, used)
                self._remember(key, used + applies)
            if applies:
                effects |= rule.effects
        return replace(self._defaults, **effects) if effects else self._defaults

    def _remember(self, key: tuple[str, int], used: int) -> None:
        self._used[key] = used
        if len(self._used) > MAX_COUNTED_MESSAGES:
            self._used.popitem(last=False)

    def set_control(self, data: object) -> None:
        """Replaces the control rules by `{"rules": [{"match", "do", "times"}]}`; a wrong one changes nothing."""
        rules = data.get("rules") if isinstance(data, dict) else None
        if not isinstance(rules, list) or len(rules) > MAX_CONTROL_RULES:
            raise RefusedError(f"Expected {{'rules': [...]}} with at most {MAX_CONTROL_RULES} rules.", param="rules")
        self._control = [_control_rule(item, f"rules[{index}]") for index, item in enumerate(rules)]

    def clear(self) -> None:
        """Forgets the control rules and every count."""
        self._control = []
        self._used.clear()

    def control(self) -> dict[str, Any]:
        return {"rules": [rule.as_json() for rule in self._control]}


def _applies(rule: Rule, step: int, used: int) -> bool:
    return rule.step in (None, step) and (rule.times is None or used < rule.times)


def _control_rule(data: object, at: str) -> ControlRule:
    if not isinstance(data, dict):
        raise RefusedError(f"Expected '{at}' to be an object.", param=at)
    unknown = sorted(data.keys() - {"match", "do", "times", "used"})
    match, do, times = data.get("match", ""), data.get("do"), data.get("times")
    if unknown or not isinstance(match, str) or not isinstance(do, str):
        raise RefusedError(
            f"Expected '{at}' to have a string 'do', and if needed a string 'match' and an integer 'times'"
            + (f"; it has {', '.join(unknown)}." if unknown else "."),
            param=at,
        )
    if times is not None and (not isinstance(times, int) or isinstance(times, bool) or times < 0):
        raise RefusedError(f"Expected '{at}.times' to be an integer of 0 or more.", param=f"{at}.times")
    try:
        rule = read_rule(do)
    except DirectiveError as error:
        raise RefusedError(f"{at}: {error}", param=f"{at}.do", code="simulator_directive") from None
    return ControlRule(match, do, rule if times is None else replace(rule, times=times))


def message_hash(text: str) -> str:
    """A short fingerprint of a message, for counting and for the journal."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
