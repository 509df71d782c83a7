"""Power cuts, by the model of tests/stumbles/power.py: on the disk is exactly what Redis has synced."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.long.report import Report
from tests.stumbles.conftest import Stumbling
from tests.stumbles.power import Fsyncs, Loss, cut
from tests.stumbles.redis_process import until

CUTS = 5
ACCEPTED = 300

Cut = Callable[[str, int], Loss]


@pytest.fixture
def cut_power(tmp_path: Path) -> Iterator[Cut]:
    """Cuts the power under this way of syncing, for the nth time."""
    fsyncs = Fsyncs(tmp_path)
    system = Stumbling(tmp_path, **fsyncs.environment)
    try:
        until(system.is_well, "it is ready", 120)
        # not in step with the seconds: the last sync is now nearly a second ago, now a moment
        yield lambda fsync, nth: cut(system, fsync, accepted=ACCEPTED, seconds=1 + 0.37 * nth, fsyncs=fsyncs)
    finally:
        system.stop()


@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_what_power_cuts_lose(fsync: str, cut_power: Cut, report: Report) -> None:
    losses = [cut_power(fsync, nth) for nth in range(CUTS)]
    lost, again = [loss.lost for loss in losses], [loss.ran_again for loss in losses]
    goal = "0" if fsync == "always" else "the last second's at most"
    met = fsync != "always" or sum(lost) + sum(again) == 0
    for what, counts, of in (
        ("acknowledged tasks lost", lost, sum(loss.accepted for loss in losses)),
        ("finished tasks run again", again, sum(loss.finished for loss in losses)),
    ):
        measured = f"{sum(counts)} of {of}; {min(counts)} to {max(counts)} in each of {CUTS} cuts"
        report(f"power cut, appendfsync {fsync}: {what}", goal, measured, met=met)
    oldest = max(loss.oldest_s for loss in losses)
    what = f"power cut, appendfsync {fsync}: age of the oldest that was lost"
    report(what, "below 2 s", f"{oldest:.1f} s", met=oldest < 2)
    assert met
    if fsync == "everysec":
        assert sum(lost) > 0, "the model cuts nothing: then it says nothing about `always` either"
