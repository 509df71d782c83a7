"""Questions to the operator's database in SQL, which can only read; agent.read_only_sqlite and _postgres guard them."""

import difflib
import json
import math
import re
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from langchain_core.tools import StructuredTool, ToolException

from agent import read_only_sqlite
from agent.read_only_query import QueryError, Rows, Table
from core_config import Settings

if TYPE_CHECKING:
    from agent.read_only_postgres import PostgresAddress

MAX_ANSWER_CHARS: Final = 15_000
"""Of all rows together."""
MAX_CELL_CHARS: Final = 1000
MAX_TABLES: Final = 100
MAX_COLUMNS_SHOWN: Final = 60


def build(source: "Path | PostgresAddress", settings: Settings) -> list[StructuredTool]:
    """The tools `database` and `database_schema` over a file or a server. They block: for threads."""
    seconds = min(settings.database_timeout_seconds, settings.tool_timeout_seconds)
    dialect, query, tables = _reader(source)
    schema = partial(tables, seconds=seconds)

    def database(
        sql: Annotated[str, f"One SELECT in {dialect}'s dialect; it may begin with WITH."],
    ) -> str:
        """Query the database, which can only be read. Returns the columns, then each row as a JSON array; few rows, so
        let SQL count, sum, sort and filter. Call database_schema first to learn the tables and columns.
        """
        try:
            rows = query(sql, seconds=seconds, max_rows=settings.database_max_rows, max_bytes=MAX_ANSWER_CHARS * 4)
        except QueryError as error:
            raise ToolException(f"{error}{_hint(str(error), schema)}") from None
        return _told(rows)

    def database_schema() -> str:
        """List the tables of the database with their columns, types, primary keys and what columns refer to."""
        try:
            return _described(dialect, schema())
        except QueryError as error:
            raise ToolException(str(error)) from None

    return [
        StructuredTool.from_function(func=database, name="database"),
        StructuredTool.from_function(func=database_schema, name="database_schema"),
    ]


def _reader(source: "Path | PostgresAddress") -> tuple[str, Callable[..., Rows], Callable[..., list[Table]]]:
    """Dialect, query and tables."""
    if isinstance(source, Path):
        return "SQLite", partial(read_only_sqlite.query, source), partial(read_only_sqlite.tables, source)
    from agent import read_only_postgres  # noqa: PLC0415  the driver takes a tenth of a second: only its users pay

    return "Postgres", partial(read_only_postgres.query, source), partial(read_only_postgres.tables, source)


def _told(rows: Rows) -> str:
    head = f"Columns: {', '.join(name[:100] for name in rows.columns)}"
    lines: list[str] = []
    size, more = len(head), rows.more
    for row in rows.rows:
        line = json.dumps([_cell(value) for value in row], ensure_ascii=False)
        size += len(line) + 1
        if lines and size > MAX_ANSWER_CHARS:
            more = True
            break
        lines.append(line[:MAX_ANSWER_CHARS])
    if not lines:
        return f"{head}\nNo rows."
    count = f"{len(lines)} row{'' if len(lines) == 1 else 's'}"
    tail = f"The first {count}; there are more." if more else f"{count}."
    return "\n".join([head, *lines, tail])


def _cell(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"<blob of {len(value)} bytes>"
    if isinstance(value, str) and len(value) > MAX_CELL_CHARS:
        # One more than is shown is all that Postgres sends; how long it is, only SQLite knows.
        length = f" ({len(value)} characters)" if len(value) > MAX_CELL_CHARS + 1 else ""
        return f"{value[:MAX_CELL_CHARS]}…{length}"
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no such number
    return value


def _number(value: Decimal) -> int | float | str:
    """As a number where one says the same, else as text."""
    if not value.is_finite():
        return str(value)
    if value == value.to_integral_value():
        return int(value) if abs(value) < 10**15 else str(value)
    return float(value) if Decimal(str(float(value))) == value else str(value)


def _described(dialect: str, found: list[Table]) -> str:
    if not found:
        return "The database has no tables."
    lines = [f"{table.name}({', '.join(_few(table.columns, MAX_COLUMNS_SHOWN))})" for table in found[:MAX_TABLES]]
    if len(found) > MAX_TABLES:
        lines.append(f"and {len(found) - MAX_TABLES} more tables")
    return "\n".join([f"{dialect}. Tables and views:", *lines])


def _few(items: list[str], count: int) -> list[str]:
    return items if len(items) <= count else [*items[:count], f"and {len(items) - count} more"]


_UNKNOWN: Final = re.compile(r"no such (table|column): (\S+?)\.?$")


def _hint(said: str, tables: Callable[[], list[Table]]) -> str:
    """What there is in place of a table or column that there is not."""
    missing = _UNKNOWN.search(said)
    if missing is None:
        return ""
    try:
        found = tables()
    except QueryError:
        return ""
    if missing[1] == "table":
        names = [table.name for table in found]
    else:
        names = sorted({column.split(" ")[0] for table in found for column in table.columns})
    near = difflib.get_close_matches(missing[2].rpartition(".")[2], names, n=3, cutoff=0.5)
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"{meant} {'Tables' if missing[1] == 'table' else 'Columns'}: {', '.join(_few(names, 40))}."
