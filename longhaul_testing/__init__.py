"""Longhaul for people's own tests: `pytest_plugins = ["longhaul_testing"]`, then docs/testing.md.

The fixtures stand in longhaul_testing/fixtures.py; nothing heavy is loaded before a test asks for one.
"""

from longhaul_testing.fixtures import (
    longhaul,
    longhaul_settings,
    longhaul_simulator,
    longhaul_system,
    run_agent,
    run_agents,
    simulator,
    start_longhaul,
)

__all__ = [
    "longhaul",
    "longhaul_settings",
    "longhaul_simulator",
    "longhaul_system",
    "run_agent",
    "run_agents",
    "simulator",
    "start_longhaul",
]
