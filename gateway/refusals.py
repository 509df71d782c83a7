"""One line when submits begin to be refused because nothing more fits in, and one when it is over."""

import logging
import time

from taskstore.errors import QueueFull, StorageFull

QUIET_S = 10.0
"""Without a refusal: at its limit a queue takes one task for each that ends, and that is no end of it."""

log = logging.getLogger(__name__)


class Refusals:
    """Of one process."""

    def __init__(self, quiet_s: float = QUIET_S) -> None:
        self._quiet_s = quiet_s
        self._since = self._last = 0.0
        self._count = 0

    def refused(self, error: QueueFull | StorageFull) -> None:
        now = time.monotonic()
        if not self._count:
            self._since = now
            code = "queue_full" if isinstance(error, QueueFull) else "storage_full"
            log.warning("submits_refused", extra={"code": code})
        self._count += 1
        self._last = now

    def taken(self) -> None:
        if self._count and time.monotonic() - self._last >= self._quiet_s:
            about = {"seconds": round(self._last - self._since, 1), "refused": self._count}
            self._count = 0
            log.warning("submits_taken", extra=about)
