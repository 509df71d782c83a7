"""All that can be measured, in the order of the report."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from loadtest.bench.agent_study import ADDED, AGENT, TRACING
from loadtest.bench.depth_study import DEPTH
from loadtest.bench.http_study import HTTP
from loadtest.bench.memory_study import WAITING_RUNS, WATCHING
from loadtest.bench.queue_study import QUEUE
from loadtest.bench.rerun_study import RERUN
from loadtest.bench.span_study import SLOTS_STUDY, WIDE_STUDY
from loadtest.bench.start_study import START
from loadtest.bench.study import Study

STUDIES: Final[tuple[Study, ...]] = (
    QUEUE,
    WIDE_STUDY,
    SLOTS_STUDY,
    RERUN,
    DEPTH,
    HTTP,
    AGENT,
    ADDED,
    TRACING,
    WATCHING,
    WAITING_RUNS,
    START,
)


class UnknownNameError(Exception):
    """No row, study or contender has this name; says which there are."""


def chosen(
    names: Sequence[str], only: Sequence[str] = (), *, long: bool, studies: Sequence[Study] = STUDIES
) -> list[Study]:
    """The studies of these names or with these rows; all of them, without the long ones unless `long`, for no names.
    With `only`, of each study the contenders of these names. Raises UnknownNameError.
    """
    _check("row", names, {study.key for study in studies} | {row.key for study in studies for row in study.rows})
    _check("contender", only, {contender.name for study in studies for contender in study.contenders})
    wanted = [
        study
        for study in studies
        if (names and {study.key, *(row.key for row in study.rows)} & set(names))
        or (not names and (long or not study.long_only))
    ]
    if only:
        wanted = [
            replace(study, contenders=tuple(contender for contender in study.contenders if contender.name in only))
            for study in wanted
        ]
    return [study for study in wanted if study.contenders]


def _check(what: str, names: Sequence[str], known: set[str]) -> None:
    for name in names:
        if name not in known:
            raise UnknownNameError(f"there is no {what} {name!r}. There are {', '.join(sorted(known))}.")
