"""Planted secrets: in the environment, in prompts, in what tools raise and in what a provider answers. Afterwards
nothing holds one: no log, no file, no trace, no answer, nothing in Redis but the message where its author wrote it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import redis

from taskstore.connection import connect
from tests.agent.scripted_provider import Reply, ScriptedProvider, completion, scripted_provider
from tests.conftest import RedisServer
from tests.system.conftest import System
from tests.taskstore.state import Contents
from tests.traces.sink import Sink

from .conftest import digest

# None has the shape of a key: what takes them out must know them, not guess them.
PROVIDER = "canary.provider.4f9a8b7c"
OTHER_PROVIDER = "canary.dashscope.91d2c3e4"
TAVILY = "canary.tavily.55e1f0aa"
LANGFUSE = "canary.langfuse.7c6b5a49"
REDIS = "canary/redis@pass:word.0b1c"
CALLER = "ak_canary_caller_3d2e1f"
SECRETS = (PROVIDER, OTHER_PROVIDER, TAVILY, LANGFUSE, REDIS, quote(REDIS, safe=""), CALLER)
PASTED = "sk-canarypasted5e6f7a8b9c"
"""A key that a user pastes into a prompt: no setting holds it."""

TOOL = "        return current_time(timezone or settings.agent_timezone)\n"
LEAKING_TOOL = """\
        import os
        raise RuntimeError(f"no access with {os.environ['TAVILY_API_KEY']} and {os.environ['DEEPSEEK_API_KEY']}")
"""
ECHOED = {"error": {"message": f"Incorrect API key provided: {PROVIDER}.", "type": "x", "code": "invalid_api_key"}}
REPLIES = {
    "401": Reply(401, ECHOED),
    "400": Reply(400, ECHOED),
    "403": Reply(403, ECHOED, {"x-echo": PROVIDER}),
    "404": Reply(404, ECHOED),
    "429": Reply(429, ECHOED),
    "500": Reply(500, f"Traceback: Authorization: Bearer {PROVIDER}"),
    "no JSON": Reply(200, f'{{"key": "{PROVIDER}'),
    "no completion": Reply(200, {"authorization": PROVIDER}),
    "half": Reply(200, f'{{"key": "{PROVIDER}"}}', how="half"),
}


@dataclass
class Planted:
    system: System
    provider: ScriptedProvider
    sink: Sink
    server: RedisServer
    http: httpx.Client

    def texts_on_disk(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in (self.system.folder / "var").rglob("*") if path.is_file()}


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[Planted]:
    server = RedisServer(tmp_path / "redis")
    server.folder.mkdir()
    server.start()
    with redis.Redis.from_url(server.url) as client:
        client.config_set("requirepass", REDIS)
    sink = Sink()
    with scripted_provider() as provider:
        models = tmp_path / "models.toml"
        models.write_text(
            f'[Scripted]\nlitellm_id = "openai/scripted"\nbase_url = "{provider.url}"\n'
            'api_key_env = "DEEPSEEK_API_KEY"\ncooldown = false\n'
        )
        (tmp_path / "copy").mkdir()
        system = System(
            tmp_path / "copy",
            REDIS_URL=f"redis://:{quote(REDIS, safe='')}@127.0.0.1:{server.port}/0",
            MODELS_FILE=str(models), ACTIVE_MODEL_KEY="Simulator", MAX_RETRIES="0", LOG_LEVEL="DEBUG",
            DEEPSEEK_API_KEY=PROVIDER, DASHSCOPE_API_KEY=OTHER_PROVIDER, TAVILY_API_KEY=TAVILY,
            LANGFUSE_PUBLIC_KEY="public", LANGFUSE_SECRET_KEY=LANGFUSE, LANGFUSE_HOST=sink.url,
            API_KEYS=f"alice:{digest(CALLER)}",
        )  # fmt: skip
        tool = system.folder / "agent" / "tools" / "get_time.py"
        assert TOOL in tool.read_text()
        tool.write_text(tool.read_text().replace(TOOL, LEAKING_TOOL))
        system.http.headers["authorization"] = f"Bearer {CALLER}"
        try:
            yield Planted(system.start(), provider, sink, server, system.http)
        finally:
            system.end()
            server.kill()
            sink.close()


def held_in(text: str | bytes, secrets: tuple[str, ...] = (*SECRETS, PASTED)) -> list[str]:
    found = text if isinstance(text, bytes) else text.encode()
    return [secret for secret in secrets if secret.encode() in found]


async def test_no_planted_secret_is_found_anywhere(planted: Planted) -> None:
    answers = run_everything_that_may_leak(planted)
    assert all(f"Bearer {PROVIDER}" == one.headers["authorization"] for one in planted.provider.requests), "it was used"

    async with connect(planted.system.environment["REDIS_URL"]) as client:
        stored = await Contents(client, "").snapshot()
    holding = sorted(name.split(":")[1] for name, content in stored.items() if PASTED in str(content))
    assert holding == ["session", "task", "task"], "two records and a session's log"
    for name, content in stored.items():
        if name.startswith("lh:task:"):
            del content["message"]
        assert not held_in(name)
        assert not held_in(str(content), SECRETS if name.endswith(":log") else (*SECRETS, PASTED)), name

    planted.server.kill()
    for path in ("/ready", "/task/" + "f" * 32):
        answers.append(planted.http.get(path))
        assert answers[-1].status_code == 503
    for answer in answers:
        assert not held_in(answer.content + str(answer.headers).encode()), answer.request.url
    planted.provider.says(REPLIES["401"])
    for command in (["status"], ["status", "--json"], ["logs"], ["models"], ["models", "test", "Scripted"], ["stop"]):
        done = planted.system.manage(*command)
        assert not held_in(done.stdout + done.stderr), command
        assert ("Incorrect API key provided: [redacted]" in done.stdout) == ("test" in command), "but what it said is"

    disk = planted.texts_on_disk()
    assert {"gateway-1.log", "simulator.log", "supervisor.log", "worker-1.log"} <= {file.name for file in disk}
    for file, text in disk.items():
        assert not held_in(text), file
    spans = str(planted.sink.spans())
    assert "Is [redacted] a good key?" in spans, "the prompts were traced"
    assert "The tool get_time failed (RuntimeError)" in spans, "and what the tool raised"
    assert all(not held_in(request.body) for request in planted.sink.requests)


def run_everything_that_may_leak(planted: Planted) -> list[httpx.Response]:
    """All answers. Each way to fail ends a task, by POST /task and by POST /chat."""
    system, provider, http = planted.system, planted.provider, planted.http
    answers: list[httpx.Response] = []

    def end_of(message: str, **fields: Any) -> dict[str, Any]:
        task = system.ask(message, **{"model": "Scripted", **fields})
        answers.append(http.get(f"/task/{task['task_id']}"))
        return task

    for name, reply in REPLIES.items():
        provider.says(reply)
        assert end_of(name)["status"] == "failed", name
        answers.append(http.post("/chat", json={"message": name, "model": "Scripted"}))
        assert answers[-1].status_code >= 500, name
    provider.says(completion(calls=[("get_time", {})]), completion("Done."))
    assert end_of("What time is it?")["result"] == "Done."
    provider.says(completion("Done."))
    assert end_of(f"Is {PASTED} a good key?", session_id="s")["result"] == "Done."
    assert end_of(f"[[status=401]] {PASTED}", model="Simulator")["status"] == "failed"
    answers += map(http.get, ("/models", "/metrics", "/ready", "/health", "/openapi.json", "/no-such-route"))
    answers.append(http.get("/models", headers={"authorization": f"Bearer {PROVIDER}"}))
    answers.append(http.post("/task", content=b"{"))
    return answers
