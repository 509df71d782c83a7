"""One line when Redis goes away and one when it is back, however many of the worker's roles notice; likewise when it
takes no more writes.
"""

import logging
import time

from taskstore.errors import StorageFull
from taskstore.scripts import FULL, code_of

log = logging.getLogger(__name__)


class Outage:
    """Told of every success and failure, from any thread."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def goes_on(self, error: Exception, doing: str) -> None:
        full = isinstance(error, StorageFull) or code_of(str(error)) in FULL
        what = "redis_full" if full else "redis_away"
        if what not in self._since:
            self._since[what] = time.monotonic()
            log.warning(what, extra={"while": doing, "error": error})

    def is_over(self) -> None:
        self._end("redis_away", "redis_back")

    def has_room(self) -> None:
        """A claim was accepted: what a full Redis refuses first, while it still takes what ends and keeps tasks."""
        self._end("redis_full", "redis_has_room")

    def _end(self, what: str, word: str) -> None:
        since = self._since.pop(what, None)
        if since is not None:
            log.warning(word, extra={"seconds": round(time.monotonic() - since, 1)})
