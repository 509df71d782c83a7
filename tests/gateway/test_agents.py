"""Which agents a task may name, whose model it gets, and what is said of one that the workers cannot run."""

import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from core_config import ConfigurationError, Settings
from gateway.app import create_app
from gateway.problems import KINDS, TASK_STATUSES
from taskstore.agents import NOBODY_HAS_IT
from taskstore.store import TaskStore

from .conftest import RunningGateway, StartGateway, submitted

ALICE, ROOT = "ak_alice", "ak_root"
API_KEYS = ",".join(
    f"{name}:{hashlib.sha256(key.encode()).hexdigest()}{scope}"
    for name, key, scope in (("alice", ALICE, ""), ("root", ROOT, ":admin"))
)
AGENTS = """
[agents.writer]
description = "Writes letters."
model = "GPT"
prompt = "Write."

[agents.counter]
prompt = "Count."
tools = ["calculator"]
output_schema = { type = "integer" }
"""
BROKEN = "AGENTS_FILE /srv/agents.toml, line 3, agent 'writer', tools: there is no module 'letters'."


@pytest.fixture
def agents_file(tmp_path: Path) -> Path:
    file = tmp_path / "agents.toml"
    file.write_text(AGENTS)
    return file


@pytest.fixture
def gateway(start_gateway: StartGateway, agents_file: Path) -> RunningGateway:
    return start_gateway(agents_file=agents_file, api_keys=API_KEYS, active_model_key="Simulator")


async def agents(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.get("/agents")
    assert answer.status_code == 200, answer.text
    return {agent.pop("name"): agent for agent in answer.json()["agents"]}


async def test_the_agents_are_the_files_and_a_task_gets_its_agents_model(gateway: RunningGateway, store: TaskStore):
    async with gateway.client(ALICE) as client:
        listed = await agents(client)
        assert list(listed) == ["default", "writer", "counter"]
        assert {name: agent["model"] for name, agent in listed.items()} == {
            "default": "Simulator", "writer": "GPT", "counter": "Simulator",
        }  # fmt: skip
        assert listed["writer"]["description"] == "Writes letters."
        for body, model in [
            ({}, "Simulator"),
            ({"agent": "counter"}, "Simulator"),
            ({"agent": "writer"}, "GPT"),
            ({"agent": "writer", "model": "Claude"}, "Claude"),
        ]:
            task = await store.get(await submitted(client, **body))
            assert (task.agent, task.model) == (body.get("agent", "default"), model)
        for path in ("/task", "/chat"):
            unknown = await client.post(path, json={"message": "m", "agent": "writter"})
            assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_agent")
            assert "did you mean 'writer'? known: default, writer, counter" in unknown.json()["detail"]


async def test_a_task_that_brings_no_schema_gets_its_agents(gateway: RunningGateway, store: TaskStore):
    async with gateway.client(ALICE) as client:
        cases: list[tuple[dict[str, Any], dict[str, Any] | None]] = [
            ({}, None),
            ({"agent": "counter"}, {"type": "integer"}),
            ({"agent": "counter", "output_schema": {"type": "array"}}, {"type": "array"}),
        ]
        for body, schema in cases:
            assert (await store.get(await submitted(client, **body))).output_schema == schema


async def test_before_a_worker_has_spoken_nothing_is_known_and_tasks_wait(gateway: RunningGateway):
    async with gateway.client(ALICE) as client:
        assert {(agent["available"], agent["problem"]) for agent in (await agents(client)).values()} == {(None, None)}
        await submitted(client, agent="writer")


async def test_an_agent_that_cannot_run_is_refused_while_others_are_taken(gateway: RunningGateway, store: TaskStore):
    await store.report("w1", {"default": None, "writer": BROKEN})
    async with gateway.client(ALICE) as alice, gateway.client(ROOT) as admin:
        await submitted(alice)
        for path in ("/task", "/chat"):
            body = {"message": "m", "agent": "writer"}
            hers, theirs = [await client.post(path, json=body) for client in (alice, admin)]
            for answer in (hers, theirs):
                assert (answer.status_code, answer.json()["code"]) == (503, "agent_unavailable")
                assert int(answer.headers["retry-after"]) > 0
                assert answer.headers["content-type"] == "application/problem+json"
                assert "'writer'" in answer.json()["detail"]
            assert BROKEN in theirs.json()["detail"]
            assert "agents.toml" not in hers.text
        assert (await store.overview()).queued == 1

        for client, why, missing in ((alice, None, None), (admin, BROKEN, NOBODY_HAS_IT)):
            listed = await agents(client)
            assert [agent["available"] for agent in listed.values()] == [True, False, False]
            assert listed["default"]["problem"] is None
            if why is None:
                assert listed["writer"]["problem"] == listed["counter"]["problem"]
                assert "agents.toml" not in str(listed)
            else:
                assert (listed["writer"]["problem"], listed["counter"]["problem"]) == (why, missing)

        await store.report("w2", {"default": None, "writer": None, "counter": None})
        await submitted(alice, agent="writer")
        assert {agent["available"] for agent in (await agents(alice)).values()} == {True}


async def test_without_keys_the_one_caller_reads_why(start_gateway: StartGateway, agents_file: Path, store: TaskStore):
    await store.report("w1", {"default": None, "writer": BROKEN})
    async with start_gateway(agents_file=agents_file).client() as client:
        refused = await client.post("/task", json={"message": "m", "agent": "writer"})
        assert BROKEN in refused.json()["detail"]
        assert (await agents(client))["writer"]["problem"] == BROKEN


def test_a_bad_agents_file_is_refused_with_its_line(settings: Settings, agents_file: Path):
    agents_file.write_text(AGENTS + "\n[agents.third]\ntool = []\n")
    with pytest.raises(ConfigurationError, match=rf"{agents_file}, line \d+, agent 'third', tool: .*'tools'"):
        create_app(settings.model_copy(update={"agents_file": agents_file}))


def test_a_code_of_both_tables_has_one_status():
    both = {code.value: status for code, status in TASK_STATUSES.items() if code.value in KINDS}
    assert both == {code: KINDS[code].status for code in both}
