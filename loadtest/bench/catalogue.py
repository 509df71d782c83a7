"""All that can be measured, in the order of the report."""

from collections.abc import Sequence
from typing import Final

from loadtest.bench.queue_study import QUEUE
from loadtest.bench.study import Study

STUDIES: Final[tuple[Study, ...]] = (QUEUE,)


class UnknownRowError(Exception):
    """No row and no study has this name."""


def chosen(names: Sequence[str], *, long: bool, studies: Sequence[Study] = STUDIES) -> list[Study]:
    """The studies of these names or with these rows; all of them, without the long ones unless `long`, for no names.

    Raises UnknownRowError.
    """
    if not names:
        return [study for study in studies if long or not study.long_only]
    known = {study.key for study in studies} | {row.key for study in studies for row in study.rows}
    for name in names:
        if name not in known:
            raise UnknownRowError(name, sorted(known))
    return [study for study in studies if {study.key, *(row.key for row in study.rows)} & set(names)]
