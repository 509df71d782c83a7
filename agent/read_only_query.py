"""What queries of the database tool have in common, whichever database they ask."""

from dataclasses import dataclass
from typing import Any, Final

MAX_SQL_CHARS: Final = 10_000
MAX_COLUMNS: Final = 100


class QueryError(Exception):
    """A query that was refused or failed, with a text that helps whoever wrote it."""


@dataclass(frozen=True, slots=True)
class Rows:
    columns: list[str]
    rows: list[tuple[Any, ...]]
    more: bool
    """There were more rows than were asked for, or than fit."""


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    columns: list[str]
    """Name and declared type of each."""


def checked(sql: str) -> None:
    """Raises QueryError for a text that is no statement to any database."""
    if len(sql) > MAX_SQL_CHARS:
        raise QueryError(f"The statement has {len(sql)} characters; at most {MAX_SQL_CHARS} are allowed.")
    if "\x00" in sql:
        raise QueryError("The statement holds a NUL character.")
    try:
        sql.encode()
    except UnicodeEncodeError:
        raise QueryError("The statement holds characters that are none.") from None
