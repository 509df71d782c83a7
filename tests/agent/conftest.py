import os
import sys
import types
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler

from agent.meter import Meter
from agent.run_context import StepEvent, StepListener
from agent.runner import AgentRunner
from agent.specs import AgentSpec, Specs
from agent.work import AgentWork, Answer, Turn
from agents_config import load_agents
from core_config import MODEL_REGISTRY, SIMULATOR, ModelConfig, Settings
from tests.agent.scripted_provider import ScriptedProvider, scripted_provider


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, setting or proxy of the machine reaches a test."""
    kept = ("PATH", "HOME", "TMPDIR", "LANG", "PYTEST_", "COVERAGE_", "NO_PROXY", "no_proxy", "LITELLM_", "AIOHTTP_")
    for name in os.environ:
        if not name.startswith((*kept, "EXPERIMENTAL_OPENAI")):
            monkeypatch.delenv(name)


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with scripted_provider() as running:
        yield running


PointAt = Callable[..., None]
Install = Callable[..., None]
OwnCode = Callable[..., Path]


@pytest.fixture
def own_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[OwnCode]:
    """Writes an agents file and modules beside it, before the runner is made; answers the agents file's path."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a module that is written twice in a second is read twice

    def write(agents: str, **modules: str) -> Path:
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        path = tmp_path / "agents.toml"
        path.write_text(agents, encoding="utf-8")
        monkeypatch.setenv("AGENTS_FILE", str(path))
        return path

    yield write
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Install:
    """Makes an agents file whose agent `probe` has these tools, before the runner is made."""

    def write(*tools: object) -> None:
        module = types.ModuleType("probe_tools")
        for number, tool in enumerate(tools):
            setattr(module, f"tool_{number}", tool)
        monkeypatch.setitem(sys.modules, "probe_tools", module)
        names = [f"probe_tools:tool_{number}" for number in range(len(tools))]
        path = tmp_path / "agents.toml"
        path.write_text(f'[agents.probe]\nprompt = "Use the tools."\ntools = {names}\n', encoding="utf-8")
        monkeypatch.setenv("AGENTS_FILE", str(path))

    return write


class Bench:
    """A runner on the scripted provider, and what its last run left."""

    def __init__(self, provider: ScriptedProvider) -> None:
        self.provider = provider
        self.meter = Meter()
        self.steps: list[StepEvent] = []
        self._runners: list[AgentRunner] = []
        self._current: AgentRunner | None = None

    def configure(self, **settings: object) -> AgentRunner:
        values = {"simulator_port": self.provider.port, "model_timeout_seconds": 20, **settings}
        self._current = AgentRunner(Settings(_env_file=None, **values))
        self._runners.append(self._current)
        return self._current

    async def run(
        self,
        message: str = "hello",
        *,
        model: str = SIMULATOR,
        agent: str = "default",
        history: tuple[Turn, ...] = (),
        on_step: StepListener | None = None,
    ) -> str:
        runner = self._current or self.configure()
        self.meter = Meter()
        work = AgentWork(task_id="t1", message=message, model=model, agent=agent, history=history)
        return (await runner.run(work, self.meter, on_step=on_step)).text

    async def answer(
        self,
        agent: str,
        given: str | dict[str, Any] = "hello",
        *,
        callbacks: Sequence[BaseCallbackHandler] = (),
        **work: Any,
    ) -> Answer:
        """Of an agent of one's own; `steps` are then its steps."""
        runner = self._current or self.configure()
        self.meter, self.steps = Meter(), []
        message = {"message": given} if isinstance(given, str) else {"message": "", "input": given}
        asked = AgentWork(**{"task_id": "t1", "model": SIMULATOR, "agent": agent, **message, **work})
        return await runner.run(asked, self.meter, callbacks=callbacks, on_step=self.steps.append)

    async def close(self) -> None:
        for runner in self._runners:
            await runner.close()


@pytest.fixture
async def bench(provider: ScriptedProvider) -> AsyncIterator[Bench]:
    bench = Bench(provider)
    yield bench
    await bench.close()


@pytest.fixture
def point_at(provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch) -> PointAt:
    """Points a shipped entry at the scripted provider and gives it a key. Before the runner is made."""

    def point(name: str, *, path: str = "/v1", **changes: object) -> None:
        entry = MODEL_REGISTRY[name]
        url = f"http://127.0.0.1:{provider.port}{path}"
        changed = ModelConfig.model_validate({**entry.model_dump(), "base_url": url, **changes})
        monkeypatch.setitem(MODEL_REGISTRY, name, changed)
        if changed.api_key_env:
            monkeypatch.setenv(changed.api_key_env, f"sk-test-{changed.api_key_env.lower()}-1f2e3d4c5b6a")

    return point


def spec_of(name: str, settings: Settings) -> AgentSpec:
    """The agent called `name`, on its own and without MCP servers. Raises as `Specs.find` and load_agents do."""
    return Specs(load_agents(settings), settings).find(name)
