import re
from datetime import UTC, datetime

import pytest
from langchain_core.tools import StructuredTool, ToolException

from agent.tools import get_time, search
from agent.tools.get_time import current_time
from core_config import Settings
from tests.agent.conftest import Bench
from tests.agent.scripted_provider import Reply, ScriptedProvider, completion

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def settings(**values: object) -> Settings:
    return Settings(_env_file=None, **values)  # type: ignore[arg-type]  # by name


async def ask(tool: StructuredTool, **arguments: object) -> str:
    return str(await tool.ainvoke(arguments))


def test_the_time_has_offset_weekday_and_zone() -> None:
    assert current_time("Asia/Shanghai", NOON) == "2026-11-21T20:00:00+08:00 (Saturday, Asia/Shanghai)"
    assert current_time("America/New_York", NOON).startswith("2026-11-21T07:00:00-05:00")
    local = current_time(None, NOON)
    assert datetime.fromisoformat(local.split(" ")[0]) == NOON


async def test_the_setting_is_the_default_and_the_model_may_name_another() -> None:
    tool = get_time.build(settings(agent_timezone="Asia/Shanghai"))
    assert "+08:00 (" in await ask(tool)
    assert "Asia/Tokyo" in await ask(tool, timezone="Asia/Tokyo")
    told = await ask(get_time.build(settings()))
    assert re.match(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d \(\w+day, ", told)


@pytest.mark.parametrize("name", ["Mars/Base", "../../etc/passwd", "", "/etc/localtime", "x" * 9000, "\x00"])
async def test_a_zone_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ToolException, match="Use a name such as"):
        current_time(name)


def test_a_city_is_helped() -> None:
    with pytest.raises(ToolException, match=r"Did you mean America/New_York\?"):
        current_time("New York")


async def test_without_a_backend_the_model_is_told_so(bench: Bench, provider: ScriptedProvider) -> None:
    provider.says(completion(calls=[("search", {"query": "news"})]), completion("Search is not available."))
    assert await bench.run() == "Search is not available."
    told = provider.requests[1].body["messages"][-1]["content"]
    assert "No search backend is configured" in told
    assert "Tell the user" in told


FOUND = {
    "results": [
        {"title": f"Title {n}", "url": f"https://example.org/{n}", "content": "word " * 1000, "score": 1}
        for n in range(50)
    ]
}


async def test_searxng_answers_bounded_and_named(provider: ScriptedProvider) -> None:
    provider.says(Reply(body=FOUND))
    told = await ask(search.build(settings(searxng_url=provider.url)), query="  what & where?  " + "x" * 1000)
    request = provider.requests[0]
    assert request.method == "GET"
    assert request.target.startswith("/v1/search?q=what+%26+where%3F")
    assert request.target.endswith("format=json")
    assert told.startswith("Results of SearXNG for")
    assert "5. Title 4\n   https://example.org/4" in told
    assert "Title 5" not in told
    assert len(told) < 4000


async def test_tavily_gets_its_key_and_answers(provider: ScriptedProvider) -> None:
    provider.says(Reply(body=FOUND))
    tool = search.build(settings(tavily_api_key="tvly-secret"), tavily_url=provider.url)
    assert (await ask(tool, query="news")).startswith("Results of Tavily for 'news'")
    assert provider.requests[0].headers["authorization"] == "Bearer tvly-secret"
    assert provider.requests[0].body == {"query": "news", "max_results": 5}


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Reply(500, "boom at /usr/lib"), "SearXNG answered with HTTP status 500."),
        (Reply(403, "<html>"), "SearXNG answered with HTTP status 403."),
        (Reply(302, "", {"location": "http://169.254.169.254/"}), "SearXNG answered with HTTP status 302."),
        (Reply(200, "<html>"), "SearXNG sent an answer that cannot be read."),
        (Reply(200, "[1]"), "SearXNG sent an answer that cannot be read."),
        (Reply(200, '{"results": 5}'), "SearXNG sent an answer that cannot be read."),
        (Reply(200, "x" * 3_000_000), "SearXNG answered with more than 2097152 bytes."),
        (Reply(200, {"results": []}, how="half"), "SearXNG cannot be reached."),
        (Reply(how="close"), "SearXNG cannot be reached."),
        (Reply(how="hang"), "SearXNG did not answer in time."),
    ],
    ids=str,
)
async def test_a_search_engine_s_failure_is_told_in_words(provider: ScriptedProvider, reply: Reply, told: str) -> None:
    provider.says(reply)
    tool = search.build(settings(searxng_url=provider.url, tool_timeout_seconds=4))
    with pytest.raises(ToolException) as caught:
        await ask(tool, query="news")
    assert str(caught.value) == told
    assert len(provider.requests) == 1


async def test_nothing_found_is_said(provider: ScriptedProvider) -> None:
    provider.says(Reply(body={"results": []}))
    assert (
        await ask(search.build(settings(searxng_url=provider.url)), query="zzz") == "SearXNG found nothing for 'zzz'."
    )
