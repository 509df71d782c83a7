"""All checks of this machine at once, each within its time: what hangs is told, and holds up nothing else.

Threads, and no event loop: reading a file system that hangs cannot be cancelled, and an executor waits for its threads
at the end. These are daemons, which the end of the process does not wait for.
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from operations import terminal
from operations.doctor_checks import (
    of_disk,
    of_install,
    of_langfuse,
    of_ports,
    of_processes,
    of_redis,
    of_settings,
    of_targets,
)
from operations.doctor_checks.finding import Check, Finding, failure
from operations.doctor_checks.situation import Situation

WITHIN_SECONDS = 30.0
"""Each connection of a check gives up after a few seconds; this is for what those cannot bound."""
LONGEST = 400
"""Characters of a finding or a remedy."""


@dataclass(frozen=True, slots=True)
class Group:
    """Checks of one subject, in turn. Where they do not come to an end, `told_as` says so."""

    told_as: Check
    find: Callable[[Situation], Iterable[Finding]]


GROUPS = (
    Group(Check.PACKAGES, of_install.find),
    Group(Check.SETTINGS, of_settings.find),
    Group(Check.REDIS, of_redis.find),
    Group(Check.PROCESSES, of_processes.find),
    Group(Check.PORTS, of_ports.find),
    Group(Check.DISK, of_disk.find),
    Group(Check.LANGFUSE, of_langfuse.find),
    Group(Check.TARGETS, of_targets.find),
)


def examine(situation: Situation, groups: Iterable[Group], within_s: float) -> list[Finding]:
    """Without secrets, and each text one line."""
    runs = [_Run(group, situation) for group in groups]
    for run in runs:
        run.start()
    deadline = time.monotonic() + within_s
    for run in runs:
        run.join(max(0.0, deadline - time.monotonic()))
    return [shown(finding, situation.redact) for run in runs for finding in run.result(within_s)]


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Of Check; those of one check as they were found."""
    order = list(Check)
    return sorted(findings, key=lambda finding: order.index(finding.check))


def shown(finding: Finding, redact: Callable[[str], str]) -> Finding:
    """As it may be printed: what servers and files say is in it."""
    return replace(
        finding,
        says=terminal.plain(redact(finding.says), LONGEST),
        remedy=terminal.plain(redact(finding.remedy), LONGEST),
    )


class _Run(threading.Thread):
    def __init__(self, group: Group, situation: Situation) -> None:
        super().__init__(daemon=True)
        self._group = group
        self._situation = situation
        self._found: list[Finding] = []

    def run(self) -> None:
        try:
            for finding in self._group.find(self._situation):
                self._found.append(finding)
        except Exception as error:  # noqa: BLE001  one check that breaks must not take the others with it
            self._found.append(
                failure(
                    self._group.told_as,
                    f"the check itself broke: {type(error).__name__}: {error}",
                    "that is a fault of Longhaul's: please report it.",
                )
            )

    def result(self, within_s: float) -> list[Finding]:
        """What there is by now."""
        if not self.is_alive():
            return self._found
        late = failure(
            self._group.told_as,
            f"the checks from here on came to no end within {within_s:g} s",
            "look at what they ask: a file system or a server that hangs.",
        )
        return [*self._found, late]
