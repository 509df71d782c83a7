"""One query against a Postgres database, which changes nothing, runs no longer than it may and answers no more.

What holds is the server's: each query has a connection of its own, so that nothing it sets outlives it, and a READ ONLY
transaction that is always rolled back; the statement goes through Parse, which refuses a second one, and then as a
subquery of a cursor, where the grammar allows SELECT and nothing else; there are time limits on statement, locks and
connection, and every column is cut by the server, so that no value is large here. A role that could read or
write the server's files or run its programs, which no transaction stops, is refused.
"""

import contextlib
import logging
import math
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg.pq import ExecStatus

from agent.read_only_query import MAX_COLUMNS, QueryError, Rows, Table, checked

log = logging.getLogger(__name__)

MAX_CELL_CHARS: Final = 1001
"""Of a value, this much leaves the server: one more than is shown."""
LOCK_SECONDS: Final = 1.0
"""How long a query waits for a table that is being changed."""
CONNECT_SECONDS: Final = 5.0
MAX_AT_ONCE: Final = 8
"""Queries of this process, and so connections."""

_BATCH: Final = 20
_GRACE_SECONDS: Final = 2.0
"""For the server to say that it stopped the query, before the connection is cut."""
_SLOTS: Final = threading.BoundedSemaphore(MAX_AT_ONCE)
# bool, the integers, the floats, numeric: none is large. All else comes as text.
_SMALL_TYPES: Final = frozenset({16, 20, 21, 23, 700, 701, 1700})
_BYTEA: Final = 17

_DANGEROUS_ROLE: Final = """
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_roles r
    WHERE (r.rolsuper OR r.rolname IN ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program'))
        AND pg_catalog.pg_has_role(session_user, r.oid, 'MEMBER')
)"""
_TABLES: Final = """
SELECT
    CASE WHEN pg_catalog.pg_table_is_visible(c.oid) THEN c.relname ELSE n.nspname || '.' || c.relname END,
    a.attname,
    pg_catalog.format_type(a.atttypid, a.atttypmod),
    EXISTS (SELECT FROM pg_catalog.pg_constraint k
            WHERE k.conrelid = c.oid AND k.contype = 'p' AND a.attnum = ANY (k.conkey)),
    (SELECT f.relname FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class f ON f.oid = k.confrelid
     WHERE k.conrelid = c.oid AND k.contype = 'f' AND a.attnum = ANY (k.conkey) ORDER BY k.conname LIMIT 1)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
    AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_t%'
    AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
    AND pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT')
ORDER BY n.nspname, c.relname, a.attnum
LIMIT 5000"""


class PostgresAddress:
    """A connection string, which holds a password: it shows itself nowhere."""

    def __init__(self, address: str) -> None:
        self.address = address

    def __repr__(self) -> str:
        return "PostgresAddress(...)"


def query(database: PostgresAddress, sql: str, *, seconds: float, max_rows: int, max_bytes: int) -> Rows:
    """The first rows of one SELECT, at most `max_rows` of together about `max_bytes`. Blocks. Raises QueryError."""
    checked(sql)
    with _transaction(database, seconds) as connection:
        columns, types = _described(connection, sql)
        with connection.cursor(name="longhaul") as cursor:
            try:
                cursor.execute(_bounded(sql, types).encode())
            except (psycopg.errors.SyntaxError, psycopg.errors.FeatureNotSupported):
                raise QueryError(_ONLY_READING) from None  # it was a good statement by itself, but no SELECT
            rows: list[tuple[Any, ...]] = []
            size = 0
            while batch := cursor.fetchmany(_BATCH):
                for row in batch:
                    size += sum(len(value) if isinstance(value, str) else 8 for value in row)
                    if len(rows) == max_rows or (rows and size > max_bytes):
                        return Rows(columns, rows, more=True)
                    rows.append(row)
            return Rows(columns, rows, more=False)


def tables(database: PostgresAddress, *, seconds: float) -> list[Table]:
    """The tables and views that the role may read, by schema and name. Raises QueryError."""
    found: dict[str, list[str]] = {}
    with _transaction(database, seconds) as connection:
        for table, name, kind, is_key, other in connection.execute(_TABLES.encode()):
            column = f"{name} {kind}" + (" PRIMARY KEY" if is_key else "") + (f" -> {other}" if other else "")
            found.setdefault(table, []).append(column)
    return [Table(name, columns) for name, columns in found.items()]


def _described(connection: psycopg.Connection[Any], sql: str) -> tuple[list[str], list[int]]:
    """Names and types of what the statement answers with; it is not run."""
    for result in (connection.pgconn.prepare(b"", sql.encode()), connection.pgconn.describe_prepared(b"")):
        if result.status != ExecStatus.COMMAND_OK:
            raise psycopg.errors.error_from_result(result, encoding="utf-8")
    if result.nparams:
        raise QueryError("Parameters are not possible. Write the values into the statement.")
    if result.nfields == 0:
        raise QueryError(_ONLY_READING if sql.strip() else "There is no statement in it. Write one SELECT.")
    if result.nfields > MAX_COLUMNS:
        raise QueryError(f"The query has too many columns: {result.nfields}. At most {MAX_COLUMNS} are possible.")
    names = [(result.fname(n) or b"").decode("utf-8", "replace") for n in range(result.nfields)]
    return names, [result.ftype(n) for n in range(result.nfields)]


def _bounded(sql: str, types: list[int]) -> str:
    """The statement as a subquery whose values are cut: what goes wrong in it is an error, not another statement,
    because it was parsed by itself before.
    """
    names = [f"c{n}" for n in range(len(types))]
    chosen = []
    for name, kind in zip(names, types, strict=True):
        if kind in _SMALL_TYPES:
            chosen.append(f"q.{name}")
        elif kind == _BYTEA:
            chosen.append(f"'<blob of ' || pg_catalog.octet_length(q.{name}) || ' bytes>'")
        else:
            chosen.append(f"pg_catalog.left(q.{name}::pg_catalog.text, {MAX_CELL_CHARS})")
    statement = sql.strip().removesuffix(";")
    return f"SELECT {', '.join(chosen)} FROM (\n{statement}\n) AS q ({', '.join(names)})"  # noqa: S608  see above


@contextmanager
def _transaction(database: PostgresAddress, seconds: float) -> Iterator[psycopg.Connection[Any]]:
    """A connection in a transaction that cannot write, until `seconds` are over. Says in words what Postgres raises."""
    if not _SLOTS.acquire(timeout=seconds):
        raise QueryError("Too many queries run just now. Try again.")
    try:
        with contextlib.closing(_connected(database)) as connection, _cut_off(connection, seconds + _GRACE_SECONDS):
            milliseconds = max(1, round(seconds * 1000))
            connection.execute(
                f"BEGIN READ ONLY; SET LOCAL statement_timeout = {milliseconds}; "
                f"SET LOCAL lock_timeout = {min(milliseconds, round(LOCK_SECONDS * 1000))}; "
                f"SET LOCAL idle_in_transaction_session_timeout = {milliseconds + 10_000}".encode()
            )
            dangerous = connection.execute(_DANGEROUS_ROLE.encode()).fetchone()
            if dangerous is None or dangerous[0]:
                log.error("database_role_refused")
                raise QueryError(
                    "The database cannot be used: its role may do more than read tables. Its operator must give a "
                    "role that is no superuser and has no rights to the server's files or programs."
                )
            yield connection  # and closing rolls back
    except (psycopg.Error, UnicodeDecodeError) as error:
        raise QueryError(_words(error, seconds)) from None
    finally:
        _SLOTS.release()


def _connected(database: PostgresAddress) -> psycopg.Connection[Any]:
    try:
        return psycopg.connect(
            database.address,
            autocommit=True,
            client_encoding="utf8",
            application_name="longhaul",
            connect_timeout=math.ceil(CONNECT_SECONDS),
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=2,
            prepare_threshold=None,  # a pooler between may hand on another connection
        )
    except psycopg.Error as error:
        # The rest of its text holds host, port and user.
        log.warning("database_unreachable", extra={"reason": str(error).rpartition("failed: ")[2].strip()[:200]})
        raise QueryError(_not_connected(error)) from None


@contextmanager
def _cut_off(connection: psycopg.Connection[Any], seconds: float) -> Iterator[None]:
    """Ends the connection after `seconds`, for a server that says nothing any more."""

    def cut() -> None:
        with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()  # it must not meet another connection with the same number


_ONLY_READING: Final = "Only reading is possible here: one SELECT, which may begin with WITH. Nothing was changed."
_NAMED: Final = re.compile(r'"([^"]+)"|column ([^"\s]+) does')


def _words(error: Exception, seconds: float) -> str:
    """By the error's class: its text may be in the server's language."""
    said = (error.diag.message_primary or "" if isinstance(error, psycopg.Error) else "")[:300].rstrip(".")
    match error:
        case psycopg.errors.QueryCanceled() | psycopg.errors.IdleInTransactionSessionTimeout():
            return f"The query was stopped after {seconds:g} seconds. Ask for less: a condition, an index, fewer joins."
        case psycopg.errors.LockNotAvailable():
            return "Somebody is changing that table just now. Try again."
        case psycopg.errors.ReadOnlySqlTransaction():
            return _ONLY_READING
        case psycopg.errors.UndefinedTable() | psycopg.errors.UndefinedColumn():
            named = _NAMED.search(said)
            kind = "table" if isinstance(error, psycopg.errors.UndefinedTable) else "column"
            return f"Postgres refused the query: no such {kind}: {(named[1] or named[2]) if named else said}."
        case psycopg.errors.SyntaxError() if "multiple commands" in said:
            return "Only one statement is possible at a time. Send each alone."
        case psycopg.errors.InsufficientPrivilege():
            return f"The database does not allow it to this role: {said}."
        case psycopg.OperationalError() if not said:
            return f"The database broke off, or did not answer within {seconds + _GRACE_SECONDS:g} seconds. Try again."
        case UnicodeDecodeError() | psycopg.DataError() if not said:
            return "The answer holds text that is not UTF-8. Leave that column out."
    return f"Postgres refused the query: {said}."


def _not_connected(error: psycopg.Error) -> str:
    """Its text holds host, port and user."""
    text = str(error)
    if isinstance(error, (psycopg.errors.InvalidPassword, psycopg.errors.InvalidAuthorizationSpecification)) or (
        "password" in text or "authentication" in text or "no pg_hba.conf entry" in text
    ):
        return "The database refuses the role or its password. Its operator must correct DATABASE_URL."
    if "too many" in text or "remaining connection slots" in text:
        return "The database has no connection free just now. Try again."
    return "The database cannot be reached just now."
