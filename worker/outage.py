"""One line when Redis goes away and one when it is back, however many of the worker's roles notice."""

import logging
import time

log = logging.getLogger(__name__)


class Outage:
    """Told of every success and failure, from any thread."""

    def __init__(self) -> None:
        self._since: float | None = None

    def goes_on(self, error: Exception, doing: str) -> None:
        if self._since is None:
            self._since = time.monotonic()
            log.warning("redis_away", extra={"while": doing, "error": error})

    def is_over(self) -> None:
        if self._since is not None:
            seconds = time.monotonic() - self._since
            self._since = None
            log.warning("redis_back", extra={"seconds": round(seconds, 1)})
