"""The database tool: what it answers, and that nothing hostile changes the file, leaves it or runs on."""

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from langchain_core.tools import StructuredTool, ToolException

from agent import read_only_sqlite
from agent.database_file import database_file
from agent.meter import Meter
from agent.read_only_sqlite import query
from agent.runner import AgentRunner
from agent.tools import database
from agent.tools.database import MAX_ANSWER_CHARS
from agent.tools.sample.__main__ import FILE, build
from agent.work import AgentWork
from core_config import SIMULATOR, ConfigurationError, Settings
from operations import configuration
from operations.errors import CommandError
from tests.agent.conftest import Bench, spec_of
from tests.agent.scripted_provider import ScriptedProvider, completion
from tests.simulator.server import running

SAMPLE = "sqlite:///agent/tools/sample/shop.sqlite"


def settings(**values: object) -> Settings:
    return Settings(_env_file=None, **values)  # type: ignore[arg-type]  # by name


def tool(name: str, file: Path, **values: object) -> StructuredTool:
    return next(tool for tool in database.build(file, settings(**values)) if tool.name == name)


def ask(sql: str, file: Path = FILE, **values: object) -> str:
    return str(tool("database", file, **values).invoke({"sql": sql}))


def refused(sql: str, file: Path = FILE, **values: object) -> str:
    with pytest.raises(ToolException) as caught:
        ask(sql, file, **values)
    return str(caught.value)


def made(folder: Path, script: str) -> Path:
    file = folder / "made.sqlite"
    connection = sqlite3.connect(file)
    connection.executescript(script)
    connection.close()
    return file


def test_the_sample_is_what_its_program_makes(tmp_path: Path) -> None:
    build(tmp_path / "again.sqlite")

    def dump(file: Path) -> list[str]:
        connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
        try:
            return list(connection.iterdump())
        finally:
            connection.close()

    assert dump(FILE) == dump(tmp_path / "again.sqlite")
    assert len(dump(FILE)) > 500


def test_rows_come_as_json_with_their_columns() -> None:
    assert ask("SELECT name, price_cents FROM products WHERE category = 'food' ORDER BY 2;") == (
        'Columns: name, price_cents\n["Sesame candy", 480]\n["Almond biscuits", 650]\n["Osmanthus honey", 1190]\n'
        "3 rows."
    )
    assert ask("SELECT count(*) AS n FROM orders") == "Columns: n\n[240]\n1 row."
    assert ask("SELECT * FROM orders WHERE 0") == "Columns: id, customer_id, ordered_on, status\nNo rows."
    assert ask("SELECT 1, 1.5, NULL, '茶', x'00ff', 'a' || char(0)").splitlines()[1] == (
        '[1, 1.5, null, "茶", "<blob of 2 bytes>", "a\\u0000"]'
    )
    assert "[3]" in ask("WITH t(x) AS (VALUES (1), (2)) SELECT sum(x) FROM t")
    assert "SCAN orders" in ask("EXPLAIN QUERY PLAN SELECT * FROM orders")


def test_the_schema_names_tables_columns_and_references() -> None:
    assert tool("database_schema", FILE).invoke({}) == (
        "SQLite. Tables and views:\n"
        "customers(id INTEGER PRIMARY KEY, name TEXT, city TEXT, country TEXT, since TEXT)\n"
        "order_items(order_id INTEGER PRIMARY KEY -> orders, product_id INTEGER PRIMARY KEY -> products, "
        "quantity INTEGER)\n"
        "order_totals(order_id INTEGER, customer_id INTEGER, ordered_on TEXT, status TEXT, total_cents)\n"
        "orders(id INTEGER PRIMARY KEY, customer_id INTEGER -> customers, ordered_on TEXT, status TEXT)\n"
        "products(id INTEGER PRIMARY KEY, name TEXT, category TEXT, price_cents INTEGER)"
    )


def test_a_schema_of_odd_names_and_many_tables_is_told(tmp_path: Path) -> None:
    script = """CREATE TABLE "a ""quoted"" name" ("a column"); CREATE VIEW broken AS SELECT * FROM gone;"""
    file = made(tmp_path, script + "".join(f"CREATE TABLE t{n:03}(x);" for n in range(150)))
    told = str(tool("database_schema", file).invoke({}))
    assert 'a "quoted" name(a column)' in told
    assert "broken()" in told
    assert told.endswith("and 52 more tables")
    (tmp_path / "none").mkdir()
    assert tool("database_schema", made(tmp_path / "none", "")).invoke({}) == "The database has no tables."


WRITES = [
    "INSERT INTO orders VALUES (1000, 1, '', '')",
    "INSERT INTO orders VALUES (1000, 1, '', '') RETURNING *",
    "REPLACE INTO orders VALUES (1, 1, '', '')",
    "UPDATE orders SET status = 'x'",
    "DELETE FROM orders",
    "WITH x AS (SELECT 1) DELETE FROM orders",
    "DROP TABLE orders",
    "DROP VIEW order_totals",
    "ALTER TABLE orders RENAME TO x",
    "CREATE TABLE x (y)",
    "CREATE TEMP TABLE x AS SELECT 1",
    "CREATE INDEX i ON orders (status)",
    "CREATE VIRTUAL TABLE v USING fts5 (x)",
    "CREATE TRIGGER t AFTER INSERT ON orders BEGIN SELECT 1; END",
    "ATTACH 'planted.sqlite' AS x",
    "ATTACH DATABASE ':memory:' AS x",
    "DETACH DATABASE main",
    "VACUUM",
    "VACUUM INTO 'planted.sqlite'",
    "REINDEX",
    "ANALYZE",
    "BEGIN IMMEDIATE",
    "COMMIT",
    "SAVEPOINT a",
    "PRAGMA query_only = 0",
    "PRAGMA writable_schema = 1",
    "PRAGMA journal_mode = delete",
    "PRAGMA database_list",
    "SELECT * FROM pragma_database_list",
    "EXPLAIN DELETE FROM orders",
]


@pytest.mark.parametrize("sql", WRITES)
def test_nothing_but_reading_is_possible(sql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "shop.sqlite"
    file.write_bytes(FILE.read_bytes())  # writable, so that only the guards keep it
    told = refused(sql, file)
    assert told == "Only reading is possible here: one SELECT, which may begin with WITH. Nothing was changed."
    assert file.read_bytes() == FILE.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["shop.sqlite"]


REFUSED = {
    "SELECT load_extension('/tmp/x.so')": "function load_extension is not available",
    "SELECT fts3_tokenizer('simple')": "function fts3_tokenizer is not available",
    "SELECT printf('%.*c', 2000000000, 'x')": "function printf is not available",
    "SELECT json_patch('{}', '{}')": "function json_patch is not available",
    "SELECT readfile('/etc/passwd')": "no such function: readfile",
    "SELECT writefile('/tmp/x', 'y')": "no such function: writefile",
    "SELECT 1; SELECT 2": "Only one statement",
    "SELECT 1; DROP TABLE orders": "Only one statement",
    "SELECT 1;; SELECT 2": "Only one statement",
    "SELECT zeroblob(2000000000)": "longer than 250000 bytes",
    "SELECT randomblob(100000000)": "longer than 250000 bytes",
    "SELECT hex(zeroblob(600000))": "longer than 250000 bytes",
    "SELECT replace(hex(zeroblob(100000)), '0', 'xxxx')": "longer than 250000 bytes",
    "SELECT group_concat(a.status || b.status || a.status) FROM orders a, orders b": "longer than 250000",
    "SELECT * FROM custmers": "Did you mean customers? Tables: customers, order_items",
    "SELECT nam FROM customers": "Did you mean name? Columns: category, city",
    "SELECT c.nam FROM customers c": "Did you mean name? Columns:",
    "SELEKT 1": 'near "SELEKT": syntax error',
    "SELECT": "incomplete input",
    "SELECT ?": "Parameters are not possible",
    "SELECT :name": "Parameters are not possible",
    "SELECT 1\x00; DROP TABLE orders": "NUL",
    "SELECT '\ud800'": "characters that are none",
    "": "no statement",
    "  -- nothing\n": "no statement",
    "SELECT " + "1," * 150 + "1": "too many columns",
    "SELECT " + "(" * 400 + "1" + ")" * 400: "SQLite refused the query",
    " UNION ALL ".join(["SELECT 1"] * 60): "too many terms in compound SELECT",
    "SELECT 'a' LIKE '" + "%" * 300 + "'": "LIKE or GLOB pattern too complex",
    "SELECT '" + "x" * 20_000 + "'": "at most 10000",
}


@pytest.mark.parametrize("sql", REFUSED, ids=lambda sql: repr(sql[:30]))
def test_what_is_refused_says_why(sql: str) -> None:
    told = refused(sql)
    assert REFUSED[sql] in told
    assert len(told) < 700
    assert str(FILE) not in told


ENDLESS = [
    "WITH RECURSIVE a(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM a) SELECT count(*) FROM a",
    "WITH RECURSIVE a(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM a) SELECT x FROM a WHERE x < 0",
    "SELECT count(*) FROM orders a, orders b, orders c, orders d",
    "SELECT a.id FROM orders a, orders b, orders c, orders d ORDER BY random()",
]


@pytest.mark.parametrize("sql", ENDLESS)
def test_an_endless_query_is_stopped(sql: str) -> None:
    told = refused(sql, database_timeout_seconds=0.2)
    assert told.startswith("The query was stopped after 0.2 seconds.")


@pytest.mark.parametrize("expression", [
    "instr(zeroblob(249000-{n}), CAST(zeroblob(124000) || x'31' AS BLOB))",
    "instr(hex(zeroblob(124000-{n})), hex(zeroblob(62000)) || '1')",
    "replace(hex(zeroblob(124000-{n})), hex(zeroblob(62000)) || '1', '')",
    "trim(hex(zeroblob(124000-{n})), hex(zeroblob(62000)) || '1')",
    "hex(zeroblob(124000-{n})) LIKE '%0%0%0%0%0%0%0%0%0%0%1'",
])  # fmt: skip
def test_no_single_row_takes_long(expression: str) -> None:
    """A hundred different calls in one row, which nothing interrupts: SQLite's own functions take half a minute."""
    calls = [f"length({expression.format(n=n)})" for n in range(100)]
    started = time.thread_time()
    ask(f"SELECT {' + '.join(calls)}", database_timeout_seconds=60, tool_timeout_seconds=60)
    assert time.thread_time() - started < 12


def test_only_so_many_queries_run_at_once() -> None:
    for _ in range(read_only_sqlite.MAX_AT_ONCE):
        assert read_only_sqlite._SLOTS.acquire(timeout=10)
    try:
        assert refused("SELECT 1", database_timeout_seconds=0.1) == "Too many queries run just now. Try again."
    finally:
        for _ in range(read_only_sqlite.MAX_AT_ONCE):
            read_only_sqlite._SLOTS.release()
    refused("SELEKT")  # a failed one gives its place back too
    with ThreadPoolExecutor(3 * read_only_sqlite.MAX_AT_ONCE) as threads:
        assert all("[42]" in told for told in threads.map(ask, ["SELECT 42"] * 100))


def test_the_replaced_functions_answer_as_sqlites_own(tmp_path: Path) -> None:
    file = made(tmp_path, "CREATE VIEW v AS SELECT replace(trim(' aXa '), 'X', '-') AS a, trim('xxaxx', 'x') AS b;")
    expressions = ["instr('héllo', 'l')", "instr(x'0102', x'02')", "instr('a', '')", "instr(NULL, 'a')",
                   "instr(123, 2)", "instr('aé', x'a9')", "replace(1.5, '.', ',')", "replace('aXbX', 'X', '--')",
                   "replace('a', '', 'b')", "replace('a', NULL, 'b')",
                   "trim('xyaxy', 'yx')", "ltrim('xxax', 'x')", "rtrim('xaxx', 'x')", "trim('  a ')", "trim('xx', 'x')",
                   "trim('a', '')", "trim(NULL, 'a')"]  # fmt: skip
    sql = f"SELECT {', '.join(expressions)}"
    plain = sqlite3.connect(":memory:")
    own = plain.execute(sql).fetchone()
    plain.close()
    assert query(file, sql, seconds=5, max_rows=1, max_bytes=10_000).rows == [own]
    assert '["a-a", "a"]' in ask("SELECT * FROM v", file)


def test_rows_are_counted_and_cut() -> None:
    told = ask("SELECT id FROM orders ORDER BY id", database_max_rows=3)
    assert told == "Columns: id\n[1]\n[2]\n[3]\nThe first 3 rows; there are more."
    assert ask("SELECT id FROM orders LIMIT 3", database_max_rows=3).endswith("\n3 rows.")
    many = "WITH RECURSIVE a(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM a) SELECT x FROM a"
    assert ask(many).endswith("[100]\nThe first 100 rows; there are more.")


def test_a_large_result_and_large_cells_are_cut() -> None:
    rows = "WITH RECURSIVE a(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM a LIMIT 90) SELECT hex(zeroblob(450)) FROM a"
    told = ask(rows)
    assert len(told) < MAX_ANSWER_CHARS + 200
    assert told.endswith("rows; there are more.")
    assert told.count("[") == 16
    told = ask("SELECT hex(zeroblob(100000)), hex(zeroblob(100000))")
    assert told.count("… (200000 characters)") == 2
    assert len(told) < 3000
    wide = ask(f"SELECT {', '.join(['hex(zeroblob(499))'] * 60)}")
    assert len(wide) < 20_000


def test_rows_are_not_gathered_beyond_their_bytes() -> None:
    rows = query(FILE, "SELECT hex(zeroblob(5000)) FROM orders", seconds=5, max_rows=100, max_bytes=25_000)
    assert (len(rows.rows), rows.more) == (2, True)


def test_a_large_value_keeps_no_other_column_away(tmp_path: Path) -> None:
    file = made(tmp_path, "CREATE TABLE t (id, body); INSERT INTO t VALUES (1, zeroblob(5000000)), (2, 'small');")
    assert ask("SELECT id FROM t ORDER BY id", file) == "Columns: id\n[1]\n[2]\n2 rows."
    assert "Leave that column out" in refused("SELECT body FROM t", file)


def test_text_that_is_none_is_shown(tmp_path: Path) -> None:
    file = made(tmp_path, "CREATE TABLE t (x); INSERT INTO t VALUES (CAST(x'ff41' AS TEXT));")
    assert '["\ufffdA"]' in ask("SELECT x FROM t", file)


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "text.sqlite").write_text("This is a text and no database. " * 100)
    assert refused("SELECT * FROM t", tmp_path / "text.sqlite") == "The database cannot be read."
    assert refused("SELECT 1", tmp_path / "gone.sqlite") == "The database cannot be opened."
    assert not (tmp_path / "gone.sqlite").exists()


def test_a_locked_database_is_said(tmp_path: Path) -> None:
    file = made(tmp_path, "CREATE TABLE t (x);")
    writer = sqlite3.connect(file, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    try:
        assert "Somebody is writing" in refused("SELECT * FROM t", file)
    finally:
        writer.close()


def test_the_setting_names_a_file(tmp_path: Path) -> None:
    assert database_file(settings()) is None
    assert database_file(settings(database_url=SAMPLE)) == FILE
    odd = tmp_path / "a ?#%20 name.sqlite"
    odd.write_bytes(FILE.read_bytes())
    file = database_file(settings(database_url=f"sqlite:///{odd}"))
    assert file == odd
    assert "[240]" in ask("SELECT count(*) FROM orders", odd)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://me:hunter2@db/shop", "no address of an SQLite file"),
        ("hunter2", "no address of an SQLite file"),
        ("sqlite://shop.sqlite", "no address of an SQLite file"),
        ("sqlite:///no/such/file.sqlite", "there is no file"),
        ("sqlite:///agent", "there is no file"),
        ("sqlite:///", "there is no file"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_at_start(url: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URL") as caught:
        database_file(settings(database_url=url))
    assert told in str(caught.value)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(CommandError, match="DATABASE_URL"):
        configuration.check(settings(database_url=url))


def test_it_is_offered_only_with_a_database() -> None:
    offered = {tool.name for tool in spec_of("default", settings()).tools}
    assert not offered & {"database", "database_schema"}
    assert {tool.name for tool in spec_of("default", settings(database_url=SAMPLE)).tools} == offered | {
        "database",
        "database_schema",
    }


async def test_a_query_runs_in_a_thread_and_leaves_it_at_its_time(bench: Bench, provider: ScriptedProvider) -> None:
    bench.configure(database_url=SAMPLE, database_timeout_seconds=3)
    provider.says(
        completion(calls=[("database", {"sql": ENDLESS[0]}), ("database", {"sql": "SELECT 42"})]), completion("Ok.")
    )
    assert await bench.run() == "Ok."
    first, second = [m["content"] for m in provider.requests[1].body["messages"] if m["role"] == "tool"]
    assert "stopped after 3 seconds" in first
    assert "[42]" in second


async def test_a_question_in_sql_goes_all_the_way() -> None:
    """A model over HTTP, LiteLLM, LangChain's agent, the tool as settings make it, and the sample."""
    with running() as simulator:
        runner = AgentRunner(settings(simulator_port=int(simulator.root.rpartition(":")[2]), database_url=SAMPLE))
        try:

            async def answer(message: str) -> str:
                return (await runner.run(AgentWork(task_id="t", message=message, model=SIMULATOR), Meter())).text

            told = await answer("Please run `select status, count(*) from orders group by 1 order by 1`")
            assert '["cancelled", 48]\n["delivered", 144]\n["shipped", 48]' in told
            assert "Only reading is possible" in await answer("DROP TABLE orders")
        finally:
            await runner.close()
