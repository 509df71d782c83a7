"""The store's round trips as metrics: `TaskStore(..., on_call=observe)`."""

from functools import cache

from prometheus_client import Counter, Histogram

from monitoring import metrics


def observe(verb: str, seconds: float, *, failed: bool) -> None:
    """One round trip that ended. How long a failed one took says more of a time limit than of Redis: it only counts."""
    calls, errors = _of(verb)
    if failed:
        errors.inc()
    else:
        calls.observe(seconds)


@cache
def _of(verb: str) -> tuple[Histogram, Counter]:
    """Both from the verb's first call on: a rise from nothing to one is none that Prometheus can see."""
    return metrics.REDIS_SECONDS.labels(verb), metrics.REDIS_ERRORS.labels(verb)
