"""The supervisor of a test's system: Longhaul's own, whose processes read no `.env` and use the tests' simulator.

Run as `python -m longhaul_testing.process PARENT_PID longhaul_testing.supervisor` by longhaul_testing/system.py only.
"""

import dataclasses
import os
import sys
from typing import Final

from core_config import Settings
from longhaul_testing.process import command
from operations import plan, supervisor

SIMULATOR_VARIABLE: Final = "LONGHAUL_TESTING_SIMULATOR_PORT"


class KitSupervisor(supervisor.Supervisor):
    def choose_model(self, settings: Settings) -> None:
        super().choose_model(settings)
        self.simulator_port = int(os.environ[SIMULATOR_VARIABLE])

    def services(self) -> list[plan.ProcessSpec]:
        specs = [spec for spec in super().services() if spec.role != "simulator"]
        return [dataclasses.replace(spec, command=_ours(spec.command)) for spec in specs]


def _ours(started: tuple[str, ...]) -> tuple[str, ...]:
    """`python -m gateway ...` as a process of a test's."""
    python, flag, module, *arguments = started
    assert (python, flag) == (sys.executable, "-m")  # noqa: S101 holds for all that plan.services starts
    return tuple(command(module, *arguments))


if __name__ == "__main__":
    sys.exit(supervisor.main(KitSupervisor))
