"""Processes that add up their counts in one directory: live, killed, many, and with nowhere to write."""

import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from monitoring.sharing import SIZES, SUMS, CountsDirectory

from .conftest import CountingProcess, StartCounting, samples_of

OTHER = ("agent_requests_total", "/x", "other", "200")
COUNT, SUM = (("agent_request_duration_seconds" + part, "/x", "other", "") for part in ("_count", "_sum"))
STREAMS = ("agent_event_streams",)


def page_of(process: CountingProcess) -> dict[tuple[Any, ...], float]:
    return samples_of(json.loads(process.ask("page")))


def requests_in(directory: Path) -> tuple[float, float]:
    """How many requests and durations are counted there, read by this process, which counts nothing there."""
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for metric in CountsDirectory(directory).read()
        for sample in metric.samples
    }
    return found[OTHER], found[COUNT]


def test_any_process_answers_the_sum_and_what_a_killed_one_counted_stays(start_counting: StartCounting, tmp_path: Path):
    first, second, third = (start_counting() for _ in range(3))
    for process, times in ((first, 2), (second, 30), (third, 400)):
        process.ask("count", "/x", times)
        process.ask("streams", times)
    for process in (first, second):
        page = page_of(process)
        assert (page[OTHER], page[COUNT], page[STREAMS]) == (432, 3, 432)
        assert page[SUM] == pytest.approx(0.06)
    third.kill()
    page = page_of(first)
    assert (page[OTHER], page[COUNT], page[STREAMS]) == (432, 3, 32)
    second.ask("count", "/x", 1)
    assert page_of(first)[OTHER] == 433
    assert not any(str(third.process.pid) in file.name for file in (tmp_path / "counts").iterdir())


def test_the_page_shows_each_metric_of_its_kind_of_process_and_no_other(start_counting: StartCounting):
    process = start_counting()
    process.ask("count", "/x", 1)
    page = json.loads(process.ask("page"))
    assert "# TYPE agent_problems_total counter" in page  # nobody has observed it yet
    assert "agent_leases_lost" not in page


def test_a_crash_loop_leaves_no_pile_of_files(start_counting: StartCounting, tmp_path: Path):
    for times in range(1, 5):
        process = start_counting()
        process.ask("count", "/x", times)
        process.kill()
    last = start_counting()
    page = page_of(last)
    assert (page[OTHER], page[COUNT], page[STREAMS]) == (10, 4, 0)
    assert len(list((tmp_path / "counts").iterdir())) == len(SIZES) + len(["lock", "counter ended", "histogram ended"])


def test_killed_while_it_puts_the_dead_together_it_loses_and_doubles_nothing(
    start_counting: StartCounting, tmp_path: Path
):
    """At every step in turn; each time the next reader finishes it."""
    for times in (1, 20):
        dead = start_counting()
        dead.ask("count", "/x", times)
        dead.kill()
    assert requests_in(tmp_path / "counts") == (21, 2)  # those two are in the `ended` files now
    another = start_counting()
    another.ask("count", "/x", 300)
    another.kill()
    reader = start_counting(tmp_path / "elsewhere")
    step, killed = 0, True
    while killed:
        copy = tmp_path / f"copy-{step}"
        shutil.copytree(tmp_path / "counts", copy)
        killed = reader.ask("read", copy, step) == "killed"
        assert requests_in(copy) == (321, 3), f"killed at step {step}"
        step += 1
    assert step > len(("write", "put away", "put in place", "forget")) * len(SUMS)


def test_an_id_that_comes_again_takes_nothing_over_and_loses_nothing(start_counting: StartCounting, tmp_path: Path):
    process = start_counting()
    process.ask("count", "/x", 5)
    process.ask("streams", 7)
    process.ask("again")
    process.ask("count", "/x", 60)
    page = page_of(start_counting())
    assert (page[OTHER], page[COUNT], page[STREAMS]) == (65, 2, 0)


@pytest.mark.parametrize("place", ["a file", "no room"])
def test_a_directory_that_cannot_be_used_costs_the_sharing_only(
    start_counting: StartCounting, tmp_path: Path, place: str
):
    directory = tmp_path / "counts"
    if place == "a file":
        directory.touch()
    process = start_counting()
    if place == "no room":
        process.ask("again", 20_000)
    shared, because = json.loads(process.ask("shared"))
    assert (shared, str(directory) in because) == (False, True)
    process.ask("count", "/x", 1)
    assert page_of(process)[OTHER] == 1


def test_a_reader_that_is_stopped_with_the_lock_holds_up_no_page(start_counting: StartCounting, tmp_path: Path):
    process = start_counting()
    process.ask("count", "/x", 1)
    holder = os.open(tmp_path / "counts" / "lock", os.O_RDWR)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        assert page_of(process)[OTHER] == 1
        assert json.loads(start_counting().ask("shared"))[0] is False
    finally:
        os.close(holder)
