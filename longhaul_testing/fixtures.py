"""The fixtures. Those of the session are started once, by the first test that asks; each test has its own handles."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from longhaul_testing.alone import Alone
    from longhaul_testing.client import Longhaul
    from longhaul_testing.simulated_model import Simulator
    from longhaul_testing.system import System

# What a fixture needs is imported when a test asks for it: LangChain and LiteLLM take seconds to load.


@pytest.fixture(scope="session")
def longhaul_settings() -> Mapping[str, object]:
    """Settings of `longhaul` and `run_agent`. Define one of this name to have your own: `{"AGENTS_FILE": ...}`."""
    return {}


@pytest.fixture(scope="session")
def longhaul_simulator() -> "Iterator[Simulator]":
    """The session's simulator; tests use `simulator`."""
    from longhaul_testing.simulated_model import running_simulator  # noqa: PLC0415

    with running_simulator() as running:
        yield running


@pytest.fixture(scope="session")
def longhaul_system(
    longhaul_simulator: "Simulator",
    longhaul_settings: Mapping[str, object],
    tmp_path_factory: pytest.TempPathFactory,
) -> "Iterator[System]":
    """The session's running system; tests use `longhaul`."""
    from longhaul_testing.system import System  # noqa: PLC0415

    system = System(tmp_path_factory.mktemp("longhaul"), longhaul_simulator, longhaul_settings)
    system.start()
    yield system
    system.stop()


@pytest.fixture(scope="session")
def run_agents(longhaul_simulator: "Simulator", longhaul_settings: Mapping[str, object]) -> "Iterator[Alone]":
    """What the session's runs of agents alone share; tests use `run_agent`."""
    from longhaul_testing.alone import Alone  # noqa: PLC0415

    alone = Alone(longhaul_simulator, longhaul_settings)
    yield alone
    alone.close()


@pytest.fixture
def simulator(longhaul_simulator: "Simulator") -> "Simulator":
    """The simulated model, with no script and no calls yet. `longhaul` and `run_agent` use this one."""
    longhaul_simulator.reset()
    return longhaul_simulator


@pytest.fixture
def run_agent(run_agents: "Alone", simulator: "Simulator") -> "Alone":  # noqa: ARG001 it is reset
    """`run_agent("message", agent="name")`: the agent alone, in this process, against the simulator."""
    return run_agents


@pytest.fixture
def longhaul(longhaul_system: "System", simulator: "Simulator") -> "Iterator[Longhaul]":
    """The running system: `longhaul.run("message", agent="name")`."""
    from longhaul_testing.client import Longhaul  # noqa: PLC0415

    handle = Longhaul(longhaul_system, simulator)
    yield handle
    handle.close()


@pytest.fixture
def start_longhaul(
    simulator: "Simulator",
    longhaul_settings: Mapping[str, object],
    tmp_path_factory: pytest.TempPathFactory,
) -> "Iterator[Callable[..., Longhaul]]":
    """`start_longhaul(MAX_RETRIES=0)`: another running system with these settings besides, ended with the test."""
    from longhaul_testing.client import Longhaul  # noqa: PLC0415
    from longhaul_testing.system import System  # noqa: PLC0415

    with ExitStack() as stack:

        def start(**settings: object) -> Longhaul:
            folder = tmp_path_factory.mktemp("longhaul")
            system = System(folder, simulator, {**longhaul_settings, **settings})
            stack.callback(system.stop)
            system.start()
            handle = Longhaul(system, simulator)
            stack.callback(handle.close)
            return handle

        yield start
