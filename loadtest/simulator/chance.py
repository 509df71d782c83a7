"""What is left to chance in a call: its latencies, and whether it fails or hangs. A seed makes it the same every time.

Draws follow from the seed, the message, the step of its turn, and how often just that was asked before. So a run that
asks the same again gets the same again, in whatever order its calls arrive.
"""

import hashlib
import struct
from collections import OrderedDict
from dataclasses import dataclass

from loadtest.simulator.behaviour import Behaviour
from loadtest.simulator.latency import Fixed

MAX_COUNTED = 100_000

_NUMBERS = struct.Struct("<3Q")
_STEPS = 2.0**52  # so many and a half fit a float exactly: a share is never 0 nor 1


@dataclass(frozen=True, slots=True)
class Drawn:
    """What one call meets: times in seconds."""

    delay: float
    first_token: float
    hangs: bool
    fails: bool


class Chance:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._key = seed.to_bytes(8, "little")
        self._asked: OrderedDict[tuple[str, int], int] = OrderedDict()

    def draw(self, behaviour: Behaviour, message_hash: str, step: int) -> Drawn:
        if (
            isinstance(behaviour.delay, Fixed)
            and isinstance(behaviour.first_token, Fixed)
            and not (behaviour.error_rate or behaviour.hang_rate)
        ):
            told = behaviour.error_rate is None and (behaviour.status is not None or behaviour.error is not None)
            return Drawn(behaviour.delay.seconds, behaviour.first_token.seconds, hangs=False, fails=told)
        delay, first_token, luck = self._shares(message_hash, step)
        hang_rate = behaviour.hang_rate
        error_rate = behaviour.error_rate
        if error_rate is None:
            error_rate = 1.0 if behaviour.status is not None or behaviour.error is not None else 0.0
        return Drawn(
            behaviour.delay.at(delay),
            behaviour.first_token.at(first_token),
            hangs=luck < hang_rate,
            fails=hang_rate <= luck < hang_rate + error_rate,
        )

    def _shares(self, message_hash: str, step: int) -> tuple[float, float, float]:
        """Three independent numbers, each above 0 and below 1."""
        key = (message_hash, step)
        before = self._asked.pop(key, 0)
        self._asked[key] = before + 1
        if len(self._asked) > MAX_COUNTED:
            self._asked.popitem(last=False)
        digest = hashlib.blake2b(f"{message_hash}:{step}:{before}".encode(), key=self._key, digest_size=24).digest()
        first, second, third = _NUMBERS.unpack(digest)
        return ((first >> 12) + 0.5) / _STEPS, ((second >> 12) + 0.5) / _STEPS, ((third >> 12) + 0.5) / _STEPS

    def forget(self) -> None:
        """A run that begins after this is the same as one after a start."""
        self._asked.clear()
