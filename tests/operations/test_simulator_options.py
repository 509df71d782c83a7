"""SIMULATOR_OPTIONS: what the simulated model would refuse is refused before anything starts."""

from pathlib import Path

import pytest

from core_config import Settings
from operations import configuration, plan
from operations.errors import CommandError


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--latency soon", "a number of seconds from 0 to 86400"),
        ("--latency 'half", "Close the quotation"),
        ("--rmp 3", "unrecognized arguments: --rmp 3"),
    ],
)
def test_wrong_options_are_told_before_the_start(options: str, said: str) -> None:
    with pytest.raises(CommandError) as refused:
        configuration.check_simulator(Settings(simulator_options=options))
    assert f"SIMULATOR_OPTIONS={options}: " in str(refused.value)
    assert said in str(refused.value)


def test_good_options_reach_the_simulator_and_its_port_stays_ours(tmp_path: Path) -> None:
    settings = Settings(simulator_options="--latency 'normal:1:0.1' --rpm 600 --port 1", var_dir=tmp_path)
    configuration.check_simulator(settings)
    found = plan.services(settings, {}, 3, 8123, tmp_path, None)
    (simulator,) = [spec for spec in found if spec.role == "simulator"]
    assert simulator.command[2:] == (
        "loadtest.simulator", "--latency", "normal:1:0.1", "--rpm", "600", "--port", "1", "--port", "8123",
    )  # fmt: skip
