"""The database tool on Postgres: what it answers, what it refuses, and that nothing outlives a query or runs on."""

import contextlib
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import pytest
from langchain_core.tools import StructuredTool, ToolException

from agent import read_only_postgres
from agent.database_file import database_file
from agent.read_only_postgres import PostgresAddress
from agent.read_only_query import MAX_COLUMNS, MAX_SQL_CHARS
from agent.tools import database
from agent.tools.database import MAX_ANSWER_CHARS, MAX_CELL_CHARS
from core_config import ROOT, ConfigurationError, Settings
from operations import configuration
from tests.agent.postgres_server import PostgresServer, postgres_server
from tests.conftest import free_port

PAGE = (ROOT / "docs" / "tools.md").read_text(encoding="utf-8")
(ROLE_SCRIPT,) = re.findall(r"```postgres\n(.+?)```", PAGE, re.DOTALL)
READING = "Only reading is possible here: one SELECT, which may begin with WITH. Nothing was changed."


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server(ROLE_SCRIPT) as server:
        yield server


def tool(name: str, url: str, **values: object) -> StructuredTool:
    settings = Settings(_env_file=None, database_url=url, **values)  # type: ignore[arg-type]  # by name
    source = database_file(settings)
    assert isinstance(source, PostgresAddress)
    return next(tool for tool in database.build(source, settings) if tool.name == name)


def ask(sql: str, server: PostgresServer, **values: object) -> str:
    return str(tool("database", server.reader, **values).invoke({"sql": sql}))


def refused(sql: str, server: PostgresServer, url: str | None = None, **values: object) -> str:
    with pytest.raises(ToolException) as caught:
        tool("database", url or server.reader, **values).invoke({"sql": sql})
    said = str(caught.value)
    for secret in ("a-long-password", "longhaul_reader", "hunter2", str(server.port)):
        assert secret not in said
    return said


def state(server: PostgresServer) -> list[tuple[object, ...]]:
    """All that a query could have changed."""
    with psycopg.connect(server.admin) as connection:
        counted = "SELECT count(*)::text, sum(total)::text, min(id)::text FROM orders"
        named = "SELECT relname, relkind, relnamespace::text FROM pg_class WHERE relname !~ '^pg_' ORDER BY 1, 3"
        last = "SELECT last_value::text, is_called::text, '' FROM numbers"
        large = "SELECT count(*)::text, '', '' FROM pg_largeobject_metadata"
        return [row for sql in (counted, named, last, large) for row in connection.execute(sql.encode())]


def test_rows_come_as_json_with_their_columns(server: PostgresServer) -> None:
    assert ask("SELECT city, count(*) FROM customers GROUP BY city ORDER BY city;", server) == (
        'Columns: city, count\n["Hangzhou", 20]\n["Leipzig", 20]\n2 rows.'
    )
    assert ask("SELECT * FROM orders WHERE id = 3", server).splitlines()[1] == (
        '[3, 4, 7.5, true, "2026-01-04 12:00:00+00", "<blob of 2 bytes>"]'
    )
    assert ask("SELECT 1, 1, 1.5::float8, 'NaN'::float8, 12.30, 1e40::numeric, NULL, '茶', '{1,2}'::int[]", server) == (
        "Columns: ?column?, ?column?, float8, float8, ?column?, numeric, ?column?, ?column?, int4\n"
        f'[1, 1, 1.5, "nan", 12.3, "1{"0" * 40}", null, "茶", "{{1,2}}"]\n1 row.'
    )
    assert (
        ask("""SELECT '{"a": 1}'::jsonb, now() > '2020-01-01', interval '1 day', (1, 'b')""", server).splitlines()[1]
        == '["{\\"a\\": 1}", true, "1 day", "(1,b)"]'
    )
    assert ask("SELECT * FROM orders WHERE false", server).endswith("at, note\nNo rows.")
    for sql in ("WITH a AS (SELECT 41 AS x) SELECT x + 1 FROM a", "VALUES (42)", "(SELECT 42)", "SELECT 42 -- well"):
        assert "[42]" in ask(sql, server)
    assert ask("TABLE customers ORDER BY id DESC LIMIT 1", server).splitlines()[1] == '[40, "Customer 40", "Hangzhou"]'


def test_the_schema_is_what_the_role_may_read(server: PostgresServer) -> None:
    assert tool("database_schema", server.reader).invoke({}) == (
        "Postgres. Tables and views:\n"
        "big_orders(id integer, customer_id integer, total numeric(10,2), paid boolean, at timestamp with time zone, "
        "note bytea)\n"
        "customers(id integer PRIMARY KEY, name text, city text)\n"
        "orders(id integer PRIMARY KEY, customer_id integer -> customers, total numeric(10,2), paid boolean, "
        "at timestamp with time zone, note bytea)"
    )
    assert "Postgres's dialect" in str(tool("database", server.reader).args["sql"])


WRITES = [
    "INSERT INTO orders (id) VALUES (1000)",
    "INSERT INTO orders (id) VALUES (1000) RETURNING id",
    "WITH x AS (INSERT INTO orders (id) VALUES (1000) RETURNING id) SELECT * FROM x",
    "WITH x AS (DELETE FROM orders RETURNING id) SELECT * FROM x",
    "UPDATE orders SET total = 0",
    "DELETE FROM orders",
    "MERGE INTO orders USING customers ON false WHEN MATCHED THEN DELETE",
    "TRUNCATE orders",
    "DROP TABLE orders",
    "CREATE TABLE x (y int)",
    "CREATE TEMP TABLE x AS SELECT 1",
    "SELECT 1 AS a INTO x",
    "SELECT 1 AS a INTO TEMP x",
    "SELECT * FROM orders FOR UPDATE",
    "SELECT nextval('numbers')",
    "SELECT setval('numbers', 99)",
    "COPY orders TO STDOUT",
    "COPY orders TO '/tmp/longhaul-planted'",
    "COPY orders TO PROGRAM 'id'",
    "COPY orders FROM STDIN",
    "VACUUM",
    "ANALYZE orders",
    "CALL nothing()",
    "DO $$ BEGIN DELETE FROM orders; END $$",
    "LISTEN x",
    "NOTIFY x",
    "LOCK TABLE orders",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT a",
    "SET TRANSACTION READ WRITE",
    "SET statement_timeout = 0",
    "SET ROLE admin",
    "RESET ALL",
    "SHOW port",
    "DISCARD ALL",
    "PREPARE p AS SELECT 1",
    "EXPLAIN ANALYZE DELETE FROM orders",
    "DECLARE c CURSOR FOR SELECT 1",
    "GRANT ALL ON orders TO PUBLIC",
    "ALTER ROLE longhaul_reader SUPERUSER",
]


@pytest.fixture
def greedy(server: PostgresServer) -> Iterator[str]:
    """A role that may write: only the tool keeps it."""
    server.execute("CREATE ROLE greedy LOGIN PASSWORD 'hunter2'; GRANT ALL ON ALL TABLES IN SCHEMA public TO greedy;")
    server.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO greedy; GRANT CREATE ON SCHEMA public TO greedy;")
    yield server.reader.replace("longhaul_reader:a-long-password", "greedy:hunter2")
    server.execute("DROP OWNED BY greedy; DROP ROLE greedy;")


def test_nothing_but_reading_is_possible_even_to_a_role_that_may_write(server: PostgresServer, greedy: str) -> None:
    before = state(server)
    for sql in WRITES:
        assert refused(sql, server, greedy) == READING, sql
    for sql in ("SELECT lo_create(0)", "SELECT lo_from_bytea(0, 'x')"):  # forbidden from Postgres 16, else undone
        with contextlib.suppress(ToolException):
            tool("database", greedy).invoke({"sql": sql})
    assert state(server) == before
    assert not Path("/tmp/longhaul-planted").exists()


REFUSED = {
    "SELECT 1; SELECT 2": "Only one statement is possible at a time.",
    "SELECT 1; DROP TABLE orders": "Only one statement is possible at a time.",
    "SELECT 1; COMMIT; DROP TABLE orders": "Only one statement is possible at a time.",
    "SELECT 1) AS q (c0); DROP TABLE orders; --": "syntax error",
    "SELECT 1) AS a, (SELECT 2": "syntax error",
    "SELECT 1 /* not closed": "unterminated",
    "SELECT 1; -- more": READING,
    "SELECT pg_read_file('/etc/passwd')": "does not allow it to this role: permission denied for function",
    "SELECT pg_ls_dir('/')": "does not allow it to this role",
    "SELECT lo_export(1, '/tmp/x')": "does not allow it to this role",
    "SELECT lo_import('/etc/passwd')": "does not allow it to this role",
    "SELECT pg_terminate_backend(1)": "does not allow it to this role",
    "SELECT pg_reload_conf()": "does not allow it to this role",
    "SELECT * FROM private.salaries": "does not allow it to this role: permission denied for schema private",
    "SELECT set_config('role', 'admin', false)": "does not allow it to this role",
    "SELECT rolpassword FROM pg_authid": "does not allow it to this role",
    "SELECT * FROM dblink('host=127.0.0.1', 'SELECT 1') AS t (a int)": "function dblink(unknown, unknown) does not",
    "SELECT set_config('transaction_read_only', 'off', false)": "must be set before any query",
    "SELECT * FROM custmers": "no such table: custmers. Did you mean customers? Tables: big_orders, customers, orders",
    "SELECT nam FROM customers": "no such column: nam. Did you mean name? Columns: at, city",
    "SELECT c.nam FROM customers c": "no such column: c.nam. Did you mean name?",
    "SELEKT 1": 'syntax error at or near "SELEKT"',
    "SELECT $1": "Parameters are not possible",
    "SELECT 1 / 0": "division by zero",
    "SELECT 1\x00": "NUL",
    "SELECT '\ud800'": "characters that are none",
    "": "There is no statement in it",
    "  -- nothing\n": READING,
    "SELECT": READING,
    "SELECT " + "1," * 150 + "1": "too many columns: 151",
    "SELECT '" + "x" * 20_000 + "'": "at most 10000",
    "SELECT repeat('x', 2000000000)": "Postgres refused the query",
}


@pytest.mark.parametrize("sql", REFUSED, ids=lambda sql: repr(sql[:40]))
def test_what_is_refused_says_why(sql: str, server: PostgresServer) -> None:
    told = refused(sql, server)
    assert REFUSED[sql] in told
    assert len(told) < 700


def test_nothing_that_a_query_sets_outlives_it(server: PostgresServer) -> None:
    ask("SELECT set_config('statement_timeout', '0', false), set_config('search_path', 'private', false)", server)
    ask("SELECT pg_advisory_lock(4711), set_config('default_transaction_read_only', 'off', false)", server)
    assert '["\\"$user\\", public"]' in ask("SELECT current_setting('search_path')", server)
    assert '["on", "2s"]' in ask(
        "SELECT current_setting('transaction_read_only'), current_setting('statement_timeout')",
        server,
        database_timeout_seconds=2,
    )
    with psycopg.connect(server.admin) as connection:
        sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        for _ in range(200):
            if connection.execute(sql).fetchone() == (0,):
                break
            time.sleep(0.02)
        else:
            pytest.fail("the lock is still held")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT pg_sleep(60)",
        "WITH RECURSIVE a(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM a) SELECT count(*) FROM a",
        "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b",
        "SELECT set_config('statement_timeout', '0', false), pg_sleep(60)",
    ],
)
def test_an_endless_query_is_stopped(sql: str, server: PostgresServer) -> None:
    assert refused(sql, server, database_timeout_seconds=0.3).startswith("The query was stopped after 0.3 seconds.")


def test_a_locked_table_is_said(server: PostgresServer) -> None:
    with psycopg.connect(server.admin) as connection:
        connection.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        assert refused("SELECT * FROM orders", server) == "Somebody is changing that table just now. Try again."


def test_rows_and_large_values_are_cut_before_they_come(server: PostgresServer) -> None:
    assert ask("SELECT id FROM orders ORDER BY id", server, database_max_rows=3) == (
        "Columns: id\n[1]\n[2]\n[3]\nThe first 3 rows; there are more."
    )
    assert ask("SELECT id FROM orders ORDER BY id LIMIT 3", server, database_max_rows=3).endswith("\n3 rows.")
    many = "WITH RECURSIVE a(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM a) SELECT x FROM a"
    assert ask(many, server).endswith("[100]\nThe first 100 rows; there are more.")
    before = psutil.Process().memory_info().rss
    told = ask("SELECT repeat('x', 60000000), repeat('y', 30000000)::bytea", server, database_timeout_seconds=25)
    assert told.splitlines()[1] == f'["{"x" * 1000}…", "<blob of 30000000 bytes>"]'
    assert psutil.Process().memory_info().rss - before < 25_000_000
    told = ask("SELECT repeat('x', 900) FROM orders", server)
    assert told.endswith("rows; there are more.")
    assert len(told) < MAX_ANSWER_CHARS + 200


@pytest.mark.parametrize("right", ["SUPERUSER", "IN ROLE pg_read_server_files", "IN ROLE pg_execute_server_program"])
def test_a_role_with_rights_on_the_server_is_refused(right: str, server: PostgresServer) -> None:
    server.execute(f"CREATE ROLE mighty LOGIN PASSWORD 'hunter2' {right}")
    try:
        told = refused("SELECT 1", server, server.reader.replace("longhaul_reader:a-long-password", "mighty:hunter2"))
        assert told.startswith("The database cannot be used: its role may do more than read tables.")
    finally:
        server.execute("DROP ROLE mighty")


def test_only_so_many_connections_at_once(server: PostgresServer) -> None:
    for _ in range(read_only_postgres.MAX_AT_ONCE):
        assert read_only_postgres._SLOTS.acquire(timeout=10)
    try:
        assert refused("SELECT 1", server, database_timeout_seconds=0.1) == (
            "Too many queries run just now. Try again."
        )
    finally:
        for _ in range(read_only_postgres.MAX_AT_ONCE):
            read_only_postgres._SLOTS.release()
    with ThreadPoolExecutor(3 * read_only_postgres.MAX_AT_ONCE) as threads:
        told = list(threads.map(lambda _: ask("SELECT 42", server, database_timeout_seconds=25), range(60)))
    assert all("[42]" in one for one in told)


def test_a_server_that_is_not_there_is_said(server: PostgresServer, caplog: pytest.LogCaptureFixture) -> None:
    away = server.reader.replace(str(server.port), str(free_port()))
    assert refused("SELECT 1", server, away) == "The database cannot be reached just now."
    wrong = server.reader.replace("a-long-password", "hunter2")
    assert refused("SELECT 1", server, wrong) == (
        "The database refuses the role or its password. Its operator must correct DATABASE_URL."
    )
    assert "cannot be reached" in refused("SELECT 1", server, server.reader.replace("/shop", "/none"))
    with pytest.raises(ToolException, match="cannot be reached"):
        tool("database_schema", away).invoke({})
    configuration.check(Settings(_env_file=None, database_url=away))  # a start asks nobody
    reasons = [record.__dict__["reason"] for record in caplog.records if record.getMessage() == "database_unreachable"]
    assert len(reasons) == 4
    assert "Connection refused" in reasons[0]
    assert not [reason for reason in reasons if "a-long-password" in reason or "hunter2" in reason]


def test_a_server_that_says_nothing_any_more_is_left(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_only_postgres, "_GRACE_SECONDS", 0.2)
    stopped: list[int] = []

    def stop_the_backend() -> None:
        with psycopg.connect(server.admin, autocommit=True) as connection:
            sql = "SELECT pid FROM pg_stat_activity WHERE application_name = 'longhaul' AND query LIKE '%FETCH%'"
            for _ in range(500):
                if found := connection.execute(sql).fetchone():
                    os.kill(found[0], signal.SIGSTOP)
                    stopped.append(found[0])
                    return
                time.sleep(0.01)

    stopper = threading.Thread(target=stop_the_backend)
    stopper.start()
    try:
        told = refused("SELECT pg_sleep(60)", server, database_timeout_seconds=6)
        assert told.startswith("The database broke off, or did not answer within 6.2 seconds.")
    finally:
        stopper.join()
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    assert stopped


def test_one_that_takes_connections_and_is_silent_is_left(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_only_postgres, "CONNECT_SECONDS", 2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        away = server.reader.replace(str(server.port), str(silent.getsockname()[1]))
        assert refused("SELECT 1", server, away) == "The database cannot be reached just now."


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_the_setting_is_read_as_others_write_it(scheme: str, server: PostgresServer) -> None:
    url = server.reader.replace("postgresql", scheme)
    assert "[42]" in str(tool("database", url).invoke({"sql": "SELECT 42"}))
    source = database_file(Settings(_env_file=None, database_url=url))
    assert "a-long-password" not in repr(source)
    configuration.check(Settings(_env_file=None, database_url=url))


def test_the_page_says_what_holds() -> None:
    rules = PAGE[PAGE.index("### Postgres") : PAGE.index("## MCP servers")]
    for said in (
        f"at most {MAX_SQL_CHARS:,} characters",
        f"{read_only_postgres.CONNECT_SECONDS:g} s to connect",
        f"{read_only_postgres._GRACE_SECONDS:g} s later the connection is cut",
        f"waits {read_only_postgres.LOCK_SECONDS:g} s",
        f"`DATABASE_MAX_ROWS` ({Settings(_env_file=None).database_max_rows})",
        f"fetched {read_only_postgres._BATCH} at a time",
        f"{MAX_ANSWER_CHARS:,} characters together, {MAX_CELL_CHARS:,} a cell, {MAX_COLUMNS} columns",
        f"cuts each to {read_only_postgres.MAX_CELL_CHARS:,} characters",
        f"| at once | {read_only_postgres.MAX_AT_ONCE} queries",
    ):
        assert said in rules
    url = re.search(r"DATABASE_URL=(postgres\S+)", rules)
    assert url is not None
    assert isinstance(database_file(Settings(_env_file=None, database_url=url[1])), PostgresAddress)


@pytest.mark.parametrize("url", ["postgresql://me:hunter2@db:port/shop", "postgres://me:hunter2@db/shop?nonsense=1"])
def test_an_address_that_is_none_is_refused_at_start(url: str) -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URL is no address of a Postgres database") as caught:
        database_file(Settings(_env_file=None, database_url=url))
    assert "hunter2" not in str(caught.value)
