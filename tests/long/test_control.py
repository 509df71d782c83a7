"""The same harness, agent, faults and checker on stock arq with the worker of tutorials: it must tell them apart."""

from tests.long.chaos_runs import CONTROL, FEW, NO_FAULTS, PASSED, SEED, WRONG, chaos_run
from tests.long.report import Report


def test_without_faults_the_control_does_all_that_is_asked_of_it(report: Report):
    """Else its failing under faults would show nothing."""
    run = chaos_run(*CONTROL, *FEW, *NO_FAULTS)
    report("control without faults: wrong", "nothing", run.named(), met=run.code == PASSED)
    assert run.code == PASSED, run.said


def test_under_faults_the_control_fails_and_longhaul_does_not(report: Report):
    control = chaos_run(*CONTROL, *FEW, *SEED)
    ours = chaos_run(*FEW, *SEED)
    report("stock arq, a fault every 4 s: wrong", "something", control.named(), met=control.code == WRONG)
    report("Longhaul, the same: wrong", "nothing", ours.named(), met=ours.code == PASSED)
    assert control.code == WRONG, control.said
    for name in ("non-idempotent tools run twice", "finished model calls repeated"):
        assert control.wrongs.get(name, 0) > 0, control.said
    assert ours.code == PASSED, ours.said
