"""What the runbook's table of nights says to look for in the log, and which command to run, taken at its word."""

import re
import shlex

from tests.prometheus.conftest import Watched
from tests.prometheus.test_runbook import NIGHTS
from tests.prometheus.watchers import until

LOG = {night: log for night, _, _, log, _ in NIGHTS}
COMMAND = {night: command.strip("`") for night, *_, command in NIGHTS}


def lines(watched: Watched) -> list[str]:
    """All that the processes have written, a process's own lines in their order."""
    logs = sorted((watched.folder / "var" / "logs").glob("*.log"))
    return [line for log in logs for line in log.read_text(encoding="utf-8").splitlines()]


def is_meant(line: str, log: str) -> bool:
    """Whether it is a line that the words tell of: an `event … field=value` with its `field`, or another one."""
    return any(
        all(_stands(part, line) for quoted in re.findall(r"`([^`]+)`", one) for part in quoted.split(" … "))
        for one in log.split(" or ")
    )


def _stands(part: str, line: str) -> bool:
    """Whole, and not as the beginning of a longer word: an event, a field, a field with its value."""
    return re.search(rf" {re.escape(part)}" + (r"[ =]" if part[-1].isalnum() else ""), f" {line} ") is not None


def logged(watched: Watched, night: str, *culprit: str) -> str:
    """The last line that the runbook says to look for and that names the culprit."""

    def found() -> list[str]:
        meant = [line for line in lines(watched) if is_meant(line, LOG[night])]
        return [line for line in meant if all(f" {one} " in f" {line} " for one in culprit)]

    return until(found, f"{night}: {LOG[night]} with {culprit}")[-1]


def printed(watched: Watched, night: str, *more: str, **names: str) -> str:
    """What the runbook's command prints, with `more` options. `names` are what its words in capitals stand for."""
    command = COMMAND[night]
    for name, value in names.items():
        assert name in command, f"{command} has no {name}"
        command = command.replace(name, value)
    program, *arguments = shlex.split(command)
    assert program == "manage.py"
    done = watched.manage(*arguments, *more)
    assert not done.stderr, done.stderr
    return done.stdout
