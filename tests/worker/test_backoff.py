"""How long a retry waits."""

import random

import pytest

from agent.errors import ErrorCode
from worker.backoff import CAP_S, delay_ms

DICE = range(200)


def delays(code: ErrorCode, retries: int, retry_after_s: float | None = None) -> list[int]:
    return [delay_ms(code, retries, retry_after_s, random.Random(seed)) for seed in DICE]


@pytest.mark.parametrize(("asked_s", "least_s"), [(0.0, 0.0), (7.0, 7.0), (3600.0, CAP_S)])
def test_a_providers_word_is_kept_up_to_a_minute(asked_s, least_s):
    """Never earlier than it asked, a little later so that not all come at once, and no wait of an hour."""
    found = delays(ErrorCode.PROVIDER_RATE_LIMITED, 0, asked_s)
    assert all(least_s * 1000 <= delay <= least_s * 1100 for delay in found)
    assert least_s == 0 or len(set(found)) > 100


@pytest.mark.parametrize(
    ("code", "first_ms"),
    [
        (ErrorCode.PROVIDER_RATE_LIMITED, 2000),
        (ErrorCode.PROVIDER_UNAVAILABLE, 1000),
        (ErrorCode.PROVIDER_TIMEOUT, 1000),
        (ErrorCode.PROVIDER_BAD_RESPONSE, 500),
    ],
)
def test_a_delay_doubles_up_to_a_minute_and_is_never_the_same(code, first_ms):
    for retries in range(12):
        most = min(first_ms * 2**retries, CAP_S * 1000)
        found = delays(code, retries)
        assert all(most / 2 <= delay <= most for delay in found)
        assert len(set(found)) > 100
