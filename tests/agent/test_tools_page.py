"""docs/tools.md: its example is a tool that works, its query answers what it says, its limits are the code's."""

import re

from agent import read_only_query, read_only_sqlite, safe_http, tool_edge
from agent.database_file import database_file
from agent.tools import database, fetch
from core_config import ROOT, Settings
from tests.agent.conftest import Bench, Install, spec_of
from tests.agent.scripted_provider import ScriptedProvider, completion

PAGE = (ROOT / "docs" / "tools.md").read_text(encoding="utf-8")
SAMPLE = re.search(r"DATABASE_URL=(sqlite:\S+)", PAGE)


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.+?)```", PAGE, re.DOTALL)
    return str(found)


async def test_the_example_is_a_tool_that_an_agent_uses(
    bench: Bench, provider: ScriptedProvider, install: Install
) -> None:
    module: dict[str, object] = {}
    exec(compile(block("python"), "docs/tools.md", "exec"), module)

    install(module["exchange_rate"])
    asked = [("exchange_rate", {"currency": "CNY"}), ("exchange_rate", {"currency": "DEM"})]
    provider.says(completion(calls=asked), completion("Done."))
    await bench.run(agent="probe")
    offered = provider.requests[0].body["tools"][0]["function"]
    assert offered["description"] == "Tell how much of a currency one euro buys."
    assert offered["parameters"]["properties"]["currency"]["description"] == "Three letters, such as USD."
    told = [m["content"] for m in provider.requests[1].body["messages"] if m["role"] == "tool"]
    assert told == ["1 EUR = 7.81 CNY", "No rate is known for 'DEM'. Known: EUR, USD, CNY."]


def test_the_query_answers_what_the_page_says() -> None:
    assert SAMPLE is not None
    settings = Settings(_env_file=None, database_url=SAMPLE[1])
    file = database_file(settings)
    assert file is not None
    assert database.build(file, settings)[0].invoke({"sql": block("sql")}) + "\n" == block("text")


def test_every_shipped_tool_is_in_the_table() -> None:
    assert SAMPLE is not None
    everything = Settings(_env_file=None, fetch_enabled=True, database_url=SAMPLE[1])
    table = PAGE[: PAGE.index("## Add a tool")]
    listed = [
        name for row in re.findall(r"^\| (`.+?`) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    ]
    assert listed == [tool.name for tool in spec_of("default", everything).tools]


def test_the_limits_are_the_codes() -> None:
    defaults = Settings(_env_file=None)
    for said in (
        f"cut at {tool_edge.MAX_RESULT_CHARS:,} characters",
        f"at most {safe_http.MAX_URL_CHARS:,} characters",
        f"| redirects | {safe_http.MAX_REDIRECTS},",
        f"{safe_http.CONNECT_SECONDS:g} s to resolve, {safe_http.CONNECT_SECONDS:g} s to connect",
        f"{safe_http.TOTAL_SECONDS:g} s for all",
        f"| size | {safe_http.MAX_BYTES // 2**20} MiB",
        f"| result | {fetch.MAX_TEXT_CHARS:,} characters",
        f"at most {read_only_query.MAX_SQL_CHARS:,} characters",
        f"`DATABASE_TIMEOUT_SECONDS` ({defaults.database_timeout_seconds:g})",
        f"`DATABASE_MAX_ROWS` ({defaults.database_max_rows})",
        f"{database.MAX_ANSWER_CHARS:,} characters together, {database.MAX_CELL_CHARS:,} a cell",
        f"{read_only_query.MAX_COLUMNS} columns",
        f"| a value | {read_only_sqlite.MAX_VALUE_BYTES:,} bytes",
        f"| at once | {read_only_sqlite.MAX_AT_ONCE} queries",
        f"waits {read_only_sqlite.LOCK_SECONDS:g} s",
    ):
        assert said in PAGE
    assert sorted(safe_http.PORTS) == [80, 443]
    functions = PAGE[PAGE.index("| functions |") :].splitlines()[0]
    shipped = {name for name in read_only_sqlite._REFUSED_FUNCTIONS if name != "jsonb_patch"}
    assert set(re.findall(r"`(\w+)`", functions)) == shipped


def test_every_setting_on_the_page_is_one() -> None:
    named = set(re.findall(r"\b(?:FETCH|DATABASE|TOOL|AGENT|SEARXNG|TAVILY)_[A-Z_]+\b", PAGE))
    assert {name.lower() for name in named} <= set(Settings.model_fields)
    new = {name for name in Settings.model_fields if name.startswith(("fetch_", "database_"))}
    assert new <= {name.lower() for name in named}
