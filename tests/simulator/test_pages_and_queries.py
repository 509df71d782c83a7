"""Addresses and SQL in a message: a call when a tool for them is offered, and words like others when not."""

from typing import Any

import pytest

from tests.simulator.server import CALCULATOR, TOOLS, Server, tool
from tests.simulator.test_dialogue import asked, calculate, search

FETCH = tool("fetch", "url")
DATABASE = tool("database", "sql")
SCHEMA = tool("database_schema")
ALL = [*TOOLS, FETCH, SCHEMA, DATABASE]


def fetch(url: str) -> tuple[str, dict[str, str]]:
    return "fetch", {"url": url}


def query(sql: str) -> tuple[str, dict[str, str]]:
    return "database", {"sql": sql}


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("What does https://example.org/a?b=1+1 say?", [fetch("https://example.org/a?b=1+1")]),
        ("Read https://example.org/.", [fetch("https://example.org/")]),
        ("Compare (http://a.test/x), https://b.test/y!", [fetch("http://a.test/x"), fetch("https://b.test/y")]),
        ("看看https://example.org/茶，然后计算 6×7", [fetch("https://example.org/茶"), calculate("6*7")]),
        ("Open file:///etc/passwd", [fetch("file:///etc/passwd")]),
        ("Search for arq", [search("arq")]),
        ("SELECT count(*) FROM orders", [query("SELECT count(*) FROM orders")]),
        ("Run SELECT 1 + 1; SELECT 2", [query("SELECT 1 + 1; SELECT 2")]),
        ("Please run `select 6 * 7` and compute 2+2", [query("select 6 * 7"), calculate("2+2")]),
        ("Run:\n```sql\nWITH a AS (SELECT 1)\nTABLE a\n```\nOk?", [query("WITH a AS (SELECT 1)\nTABLE a")]),
        ("DROP TABLE orders", [query("DROP TABLE orders")]),
        ("Select a book from the shelf", []),
        ("The `name` of the rose", []),
    ],
)  # fmt: skip
def test_what_it_asks_for(simulator: Server, text: str, calls: list[Any]) -> None:
    assert asked(simulator.say(text, tools=ALL)) == calls


def test_without_such_a_tool_they_are_words(simulator: Server) -> None:
    assert asked(simulator.say("Run SELECT 6 * 7", tools=TOOLS)) == [calculate("6 * 7")]
    message = simulator.say("Read https://example.org/ and SELECT x FROM y", tools=[CALCULATOR])
    assert "tool_calls" not in message
    assert "offers none" not in message["content"]
