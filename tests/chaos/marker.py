"""The mark in a task's message by which its model calls are told from others' in the simulator's journal."""

import re
from typing import Final

POISON: Final = "poison"
"""In a message: the agent ends its process."""

LATE: Final = "[[hang]]"
"""In a message: its model never answers (docs/simulator.md)."""

_MARK = re.compile(r"\bchaos (?P<key>[\w-]+)(?: step (?P<step>\d+))?")


def message(key: str, words: str) -> str:
    return f"chaos {key}: {words}"


def step_message(given: str, key: str, step: int) -> str:
    """What a step of the plain agent asks the model, when its task's message is `given`."""
    return f"chaos {key} step {step}: go on" + (f" {LATE}" if LATE in given else "")


def read(text: str) -> tuple[str, int | None] | None:
    """The task's key and the step, if the text names one; None for a text without a mark."""
    found = _MARK.search(text)
    if found is None:
        return None
    return found["key"], None if found["step"] is None else int(found["step"])
