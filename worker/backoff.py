"""How long a retry waits. Pure, but for the dice."""

import random

from agent.errors import ErrorCode

CAP_S = 60.0
"""Also the most of a provider's Retry-After that is believed."""

FIRST_S: dict[str, float] = {
    ErrorCode.PROVIDER_RATE_LIMITED: 2.0,
    ErrorCode.PROVIDER_UNAVAILABLE: 1.0,
    ErrorCode.PROVIDER_TIMEOUT: 1.0,
}
DEFAULT_FIRST_S = 0.5


def delay_ms(code: str, retries: int, retry_after_s: float | None, dice: random.Random) -> int:
    """Milliseconds until attempt number `retries` + 2: the provider's word, else an exponential with jitter.

    Jitter is between half and all of the delay, so that tasks which failed together don't come back together.
    """
    if retry_after_s is not None:
        wait_s = min(retry_after_s, CAP_S) * dice.uniform(1.0, 1.1)
    else:
        first_s = FIRST_S.get(code, DEFAULT_FIRST_S)
        wait_s = min(first_s * 2**retries, CAP_S) * dice.uniform(0.5, 1.0)
    return round(wait_s * 1000)
