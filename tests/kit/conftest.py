"""The kit's own fixtures, here for the tests of the kit."""

from longhaul_testing import (
    longhaul,
    longhaul_settings,
    longhaul_simulator,
    longhaul_system,
    run_agent,
    run_agents,
    simulator,
)

__all__ = [
    "longhaul",
    "longhaul_settings",
    "longhaul_simulator",
    "longhaul_system",
    "run_agent",
    "run_agents",
    "simulator",
]
