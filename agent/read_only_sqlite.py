"""One query against an SQLite file, which can change nothing, attach nothing and run no longer than it may.

Every guard stands alone: the file is opened read-only; an authorizer allows reading and refuses all else, ATTACH,
PRAGMA and load_extension too; the driver refuses a second statement; limits bound each value and the statement; a
progress handler ends a query at its time; and rows are counted as they come.
"""

import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from agent.read_only_query import MAX_COLUMNS, MAX_SQL_CHARS, QueryError, Rows, Table, checked

MAX_VALUE_BYTES: Final = 250_000
"""Of any value, read or computed: a longer one ends the query."""
LOCK_SECONDS: Final = 1.0
"""How long a query waits for a writer."""
MAX_AT_ONCE: Final = 8
"""Queries of this process: one row may hold MAX_COLUMNS values of MAX_VALUE_BYTES, in SQLite and again in Python."""

_LIMITS: Final = {
    sqlite3.SQLITE_LIMIT_LENGTH: MAX_VALUE_BYTES,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 4 * MAX_SQL_CHARS,  # bytes
    sqlite3.SQLITE_LIMIT_COLUMN: MAX_COLUMNS,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 200,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 50,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 200,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_READING: Final = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE})
# The first two load code. The others can take minutes in one call, which nothing interrupts: printf('%.*c', 2000000000,
# 'x') counts to two billion before it finds its result too long, and json_patch grows with the square of its input.
_REFUSED_FUNCTIONS: Final = frozenset(
    {"load_extension", "fts3_tokenizer", "printf", "format", "json_patch", "jsonb_patch"}
)
_STEPS_BETWEEN_LOOKS: Final = 1000
_SLOTS: Final = threading.BoundedSemaphore(MAX_AT_ONCE)


def query(file: Path, sql: str, *, seconds: float, max_rows: int, max_bytes: int) -> Rows:
    """The first rows of one SELECT, at most `max_rows` of together about `max_bytes`. Blocks. Raises QueryError."""
    checked(sql)
    with _guarded(file, seconds) as connection:
        cursor = connection.execute(sql)
        if cursor.description is None:
            raise QueryError("There is no statement in it. Write one SELECT.")
        columns = [column[0] for column in cursor.description]
        rows: list[tuple[Any, ...]] = []
        size = 0
        for row in cursor:
            size += sum(len(value) if isinstance(value, (str, bytes)) else 8 for value in row)
            if len(rows) == max_rows or (rows and size > max_bytes):
                return Rows(columns, rows, more=True)
            rows.append(row)
        return Rows(columns, rows, more=False)


def tables(file: Path, *, seconds: float) -> list[Table]:
    """The tables and views that a query can read, by name. Raises QueryError."""
    with _opened(file) as connection, _stopping(connection, seconds):
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
            "ORDER BY name"
        )
        return [Table(name, _columns(connection, name)) for (name,) in names.fetchall()]


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    try:
        found = connection.execute(
            "SELECT c.name, c.type, c.pk, "
            '(SELECT f."table" FROM pragma_foreign_key_list(?1) f WHERE f."from" = c.name LIMIT 1) '
            "FROM pragma_table_xinfo(?1) c WHERE c.hidden <> 1",
            (table,),
        ).fetchall()
    except sqlite3.Error:  # a view of a table that is gone
        return []
    return [
        f"{name} {kind}".strip() + (" PRIMARY KEY" if key else "") + (f" -> {other}" if other else "")
        for name, kind, key, other in found
    ]


@contextmanager
def _guarded(file: Path, seconds: float) -> Iterator[sqlite3.Connection]:
    with _slot(seconds), _opened(file) as connection:
        for limit, value in _LIMITS.items():
            connection.setlimit(limit, value)
        _replace_slow_functions(connection)
        connection.execute("PRAGMA query_only = 1")
        connection.set_authorizer(_authorize)
        with _stopping(connection, seconds):
            yield connection


@contextmanager
def _slot(seconds: float) -> Iterator[None]:
    if not _SLOTS.acquire(timeout=seconds):
        raise QueryError("Too many queries run just now. Try again.")
    try:
        yield
    finally:
        _SLOTS.release()


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(file))}?mode=ro",
            uri=True,
            timeout=LOCK_SECONDS,
            isolation_level=None,
            check_same_thread=False,  # the timer's thread interrupts it
        )
    except sqlite3.Error:
        raise QueryError("The database cannot be opened.") from None
    connection.text_factory = lambda text: text.decode("utf-8", "replace")
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def _stopping(connection: sqlite3.Connection, seconds: float) -> Iterator[None]:
    """Ends what runs on the connection after `seconds`, and says in words what SQLite raises."""
    deadline = time.monotonic() + seconds
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS_BETWEEN_LOOKS)
    # The handler is asked once in so many steps, and each step may be slow; an interrupt is seen at the next one.
    timer = threading.Timer(seconds, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (sqlite3.Error, sqlite3.Warning, OverflowError) as error:
        raise QueryError(_words(error, seconds)) from None
    finally:
        timer.cancel()
        timer.join()  # an interrupt must not meet a closed connection


def _authorize(action: int, _: str | None, second: str | None, *__: str | None) -> int:
    if action in _READING:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() not in _REFUSED_FUNCTIONS:
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


_REFUSED: Final = re.compile(r"not authorized to use function: (\S+)")


def _words(error: Exception, seconds: float) -> str:
    said = str(error)
    low = said.lower()
    if "interrupted" in low:
        return f"The query was stopped after {seconds:g} seconds. Ask for less: a condition, an index, fewer joins."
    if "one statement at a time" in low:
        return "Only one statement is possible at a time. Send each alone."
    if function := _REFUSED.search(said):
        return f"The function {function[1][:60]} is not available here."
    if (
        "not authorized" in low
        or "authorization denied" in low
        or "prohibited" in low
        or "readonly" in low
        or "attempt to write" in low
    ):
        return "Only reading is possible here: one SELECT, which may begin with WITH. Nothing was changed."
    if "too big" in low or "too large" in low or isinstance(error, (OverflowError, sqlite3.DataError)):
        return f"A value of the query is longer than {MAX_VALUE_BYTES} bytes. Leave that column out."
    if "locked" in low or "busy" in low:
        return "Somebody is writing to the database just now. Try again."
    if "unable to open" in low or "not a database" in low or "malformed" in low or "disk i/o" in low:
        return "The database cannot be read."
    if isinstance(error, sqlite3.ProgrammingError) and "binding" in low:
        return "Parameters are not possible. Write the values into the statement."
    return f"SQLite refused the query: {said[:300].rstrip('.')}."


def _replace_slow_functions(connection: sqlite3.Connection) -> None:
    """SQLite's own take time with the product of their arguments' lengths: a third of a second a call at
    MAX_VALUE_BYTES, and no interrupt is seen before the row is done, which may hold a hundred calls. Python's grow with
    the sum.
    """
    for name, count, function in (
        ("instr", 2, _instr),
        ("replace", 3, _replace),
        ("trim", 2, lambda text, drop: _trimmed(text, drop, left=True, right=True)),
        ("ltrim", 2, lambda text, drop: _trimmed(text, drop, left=True, right=False)),
        ("rtrim", 2, lambda text, drop: _trimmed(text, drop, left=False, right=True)),
    ):
        connection.create_function(name, count, _nothing_from_nothing(function), deterministic=True)


def _nothing_from_nothing(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *values: None if None in values else function(*values)


def _instr(text: Any, part: Any) -> int:
    if isinstance(text, bytes) and isinstance(part, bytes):
        return text.find(part) + 1
    return _text(text).find(_text(part)) + 1


def _replace(text: Any, old: Any, new: Any) -> str:
    text, old, new = _text(text), _text(old), _text(new)
    if not old:
        return str(text)
    if len(text) + text.count(old) * (len(new) - len(old)) > MAX_VALUE_BYTES:
        raise OverflowError  # SQLite says that the function failed
    return str(text.replace(old, new))


def _trimmed(text: Any, drop: Any, *, left: bool, right: bool) -> str:
    text, dropped = _text(text), set(_text(drop))
    start, end = 0, len(text)
    while left and start < end and text[start] in dropped:
        start += 1
    while right and end > start and text[end - 1] in dropped:
        end -= 1
    return str(text[start:end])


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
