"""What the log says while submits are refused: one line when it begins, and one when it is over."""

import pytest

from gateway.refusals import Refusals
from taskstore.errors import QueueFull, StorageFull


def test_an_end_is_told_once_and_the_next_time_is_told_again(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals(quiet_s=0)
    refusals.taken()
    assert caplog.records == [], "nothing was refused"
    for _ in range(3):
        refusals.refused(QueueFull(2))
    for _ in range(2):
        refusals.taken()
    refusals.refused(StorageFull())
    events = [(line.getMessage(), vars(line).get("code") or vars(line)["refused"]) for line in caplog.records]
    assert events == [("submits_refused", "queue_full"), ("submits_taken", 3), ("submits_refused", "storage_full")]


def test_a_queue_at_its_limit_is_one_line_although_some_get_in(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals(quiet_s=3600)
    for _ in range(3):
        refusals.refused(QueueFull(2))
        refusals.taken()
    assert [line.getMessage() for line in caplog.records] == ["submits_refused"]
