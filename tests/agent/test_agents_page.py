"""docs/agents.md: its examples are agents that run, and its tables say what the code says."""

import inspect
import json
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from agent.answers import ANSWER_KEYS
from agent.build import MESSAGE_KEYS
from agent.context import AgentContext, TaskInfo
from agent.errors import AgentError
from agent.run_context import MAX_STEP_TEXT
from agents_config import BUILTIN, BUILTIN_TOOLS, MAX_NAME_CHARS, MIDDLEWARE, AgentConfig, McpServerConfig
from core_config import ROOT, Settings
from tests.agent.conftest import Bench, OwnCode
from tests.agent.scripted_provider import ScriptedProvider, completion

PAGE = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")
FILES: dict[str, str] = {}
for _name, _text in re.findall(r"`my/([\w.]+)`:\n\n```\w+\n(.+?)```", PAGE, re.DOTALL):
    FILES[_name] = FILES.get(_name, "") + _text.replace(".venv/bin/python", sys.executable) + "\n"


@pytest.fixture
async def page(bench: Bench, own_code: OwnCode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A runner with all that the page tells its reader to write."""
    monkeypatch.setenv("LANG", "C.UTF-8")
    (tmp_path / "support.md").write_text(FILES["support.md"], encoding="utf-8")
    modules = {name.removesuffix(".py"): text for name, text in FILES.items() if name.endswith(".py")}
    own_code(FILES["agents.toml"], **modules)
    bench.configure()
    return bench


def test_every_example_is_found() -> None:
    assert len(re.findall(r"^```\w", PAGE, re.MULTILINE)) == len(re.findall(r"`my/[\w.]+`:\n\n```\w+\n", PAGE)), (
        "an example without a file's name before it is run by nobody"
    )
    assert sorted(FILES) == ["agents.toml", "careful.py", "digest.py", "support.md", "support_tools.py", "triage.py"]


async def test_every_example_runs(page: Bench, provider: ScriptedProvider) -> None:
    assert page._current is not None
    problems = await page._current.prepare()
    assert problems == dict.fromkeys(["default", "support", "digest", "triage", "careful", "stock", "private"], None)
    provider.says(completion(calls=[("order_status", {"number": "T1001"})]), completion("It is on its way."))
    assert (await page.answer("support", "Where is T1001?")).text == "It is on its way."
    assert provider.requests[0].body["messages"][0]["content"] == FILES["support.md"]
    assert provider.requests[1].body["messages"][-1]["content"] == "sent on 2026-11-19"
    assert (await page.answer("private", "I am ann@example.org")).text
    assert "REDACTED" in provider.requests[-1].body["messages"][-1]["content"]
    provider.says(completion(calls=[("warehouse_stock", {"product": "teapot"})]), completion("Seven."))
    provider.requests.clear()
    assert (await page.answer("stock", "Teapots?")).text == "Seven."
    assert "7 in stock" in provider.requests[-1].body["messages"][-1]["content"]


@pytest.mark.parametrize("given", ["A long text.", {"text": "A long text."}])
async def test_the_function(page: Bench, provider: ScriptedProvider, given: str | dict[str, Any]) -> None:
    provider.says(completion("Short."))
    assert (await page.answer("digest", given)).data == {"summary": "Short.", "characters": 12}
    assert [step.name for step in page.steps if step.phase == "end"] == ["read", "Simulator", "sum up"]
    with pytest.raises(AgentError, match=r"agent_refused: Send a message, or an input object with `text`\."):
        await page.answer("digest", {"txt": "x"})


async def test_the_graph_and_the_factory(page: Bench, provider: ScriptedProvider) -> None:
    provider.says(completion("an order"))
    answer = await page.answer("triage", {"subject": "T1001", "body": "Where is it?"})
    assert answer.data == {"subject": "T1001", "kind": "an order"}
    assert json.loads(answer.text) == answer.data
    with pytest.raises(AgentError, match="agent_refused: The agent takes an input object and no message"):
        await page.answer("triage", "hello")
    await page.answer("careful", "hello")
    sent = provider.requests[-1].body
    assert sent["messages"][0]["content"].endswith("\nCheck every number with a tool.")
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["calculator"]


def table(head: str) -> list[str]:
    """The names in the first column of the table that begins with this line."""
    rows = PAGE[PAGE.index(head) :].partition("\n\n")[0].splitlines()[2:]
    return [name for row in rows for name in re.findall(r"`([\w:/]+)", row.split("|")[1])]


def test_the_tables_are_the_code_s() -> None:
    assert table("| key | meaning |") == list(AgentConfig.model_fields)
    assert table("| `[mcp.NAME]` |") == list(McpServerConfig.model_fields)
    assert sorted(table("| `use` |")) == sorted([*MIDDLEWARE, "module:name"])
    assert table("| in `tools` |") == [*BUILTIN_TOOLS, BUILTIN, "module:function", "mcp:server", "mcp:server/tool"]
    public = {name for name, _ in inspect.getmembers(AgentContext) if not name.startswith("_")}
    offered = re.sub(r"await ", "", PAGE[PAGE.index("| `ctx.` |") :].partition("\n\n")[0])
    named = {name for row in offered.splitlines()[2:] for name in re.findall(r"`(\w+)", row.split("|")[1])}
    assert named == public | {"task", "tools", "chat_model", "deadline"}
    of_task = next(row for row in offered.splitlines() if row.startswith("| `task`")).split("|")[2]
    assert set(re.findall(r"`(\w+)`", of_task)) - {"role", "text"} == {field.name for field in fields(TaskInfo)}


def test_what_the_page_says_of_limits_and_keys() -> None:
    for said in (
        f"up to {MAX_NAME_CHARS} printable characters",
        f"cut at {MAX_STEP_TEXT:,} characters",
        " or ".join(f"`{key}`" for key in MESSAGE_KEYS) + " | also",
        "the value of `{}`, else of `{}`".format(*ANSWER_KEYS),
    ):
        assert said in PAGE
    settings = set(re.findall(r"\b(?:AGENT|AGENTS|MAX|ATTEMPT)_[A-Z_]+\b", PAGE))
    assert {name.lower() for name in settings} <= set(Settings.model_fields)
