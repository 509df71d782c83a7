"""A test's handle on a running system, and what it says when something is not as it should be."""

from pathlib import Path

import pytest

from longhaul_testing.client import Longhaul
from longhaul_testing.errors import NotFinalError, NotStartedError
from longhaul_testing.simulated_model import Simulator
from longhaul_testing.system import System


def test_a_task_that_does_not_end_says_how_far_it_came(longhaul: Longhaul, simulator: Simulator) -> None:
    simulator.will_do("hang")
    task_id = longhaul.submit("hello")
    with pytest.raises(NotFinalError, match="has not ended within 1 s") as caught:
        longhaul.wait(task_id, within_s=1)
    assert task_id in str(caught.value)
    assert "worker-1 | " in str(caught.value)
    assert longhaul.look(task_id)["status"] in {"pending", "running"}


def test_what_a_test_left_running_is_cancelled_and_its_script_forgotten(
    longhaul: Longhaul, simulator: Simulator
) -> None:
    """As the fixtures do between two tests."""
    simulator.will_do("hang").will_answer("Never.")
    ours = Longhaul(longhaul.system, simulator)
    left = ours.submit("hello")
    ours.close()
    simulator.reset()
    assert longhaul.wait(left).status == "cancelled"
    assert simulator.unused == 0


def test_a_refused_submit_says_the_gateways_words(longhaul: Longhaul) -> None:
    with pytest.raises(AssertionError, match=r"answers 422.*did you mean"):
        longhaul.submit("hello", sesion_id="s")


def test_an_answer_may_wait_for_its_message(longhaul: Longhaul, simulator: Simulator) -> None:
    simulator.will_answer("For pears.", match="pear").will_answer("For all.")
    assert [longhaul.run(fruit).result for fruit in ("an apple", "a pear")] == ["For all.", "For pears."]
    with pytest.raises(ValueError, match="did you mean 'status'"):
        simulator.will_do("stauts=500")


def test_a_system_that_cannot_start_says_why(tmp_path: Path, simulator: Simulator) -> None:
    for number, (settings, why) in enumerate(
        [
            ({"ACTIVE_MODEL_KEY": "Simulater"}, "ACTIVE_MODEL_KEY is 'Simulater'"),
            ({"REDIS_URL": "redis://127.0.0.1:1/0"}, "/ready|not ready"),
        ]
    ):
        system = System(tmp_path / str(number), simulator, settings)
        with pytest.raises(NotStartedError, match=why):
            system.start(within_s=8)
        system.stop()
