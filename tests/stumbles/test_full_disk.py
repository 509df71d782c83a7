"""The disk under Redis's append-only file is full: no file of that process may grow, which fails its writes alike."""

import resource
import time
from pathlib import Path

import pytest

from .conftest import LEASE_S, Stumbling, charged_nothing, is_refused
from .redis_process import until

pytestmark = pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux limits another process")


def test_nothing_is_lost_and_nothing_runs_twice(stumbling: Stumbling, tmp_path: Path) -> None:
    """Nobody can renew a lease, for longer than one; and a task that ends meanwhile keeps its answer."""
    ends, goes_on = tmp_path / "ends", tmp_path / "goes_on"
    first, second = stumbling.running(ends), stumbling.running(goes_on)
    try:
        with stumbling.redis.full_disk():
            until(lambda: _refused(stumbling), "writes are refused")
            before = stumbling.redis.contents()
            is_refused(stumbling.submit("say no"), "storage_full")
            assert stumbling.redis.contents() == before
            assert stumbling.task(first)["status"] == "running", "reading goes on"
            assert stumbling.http.get("/ready").status_code == 200
            ends.touch()
            time.sleep(LEASE_S + 1)  # the fault itself: longer than a lease
            assert stumbling.redis.contents() == before
        charged_nothing(stumbling.ended(first), stumbling)
        assert stumbling.record(first)["fence"] == "1", "it ran once"
        goes_on.touch()
        charged_nothing(stumbling.ended(second), stumbling)
        assert stumbling.record(second)["fence"] == "1", "nor was that one given up"
    finally:
        ends.touch()
        goes_on.touch()


def _refused(stumbling: Stumbling) -> bool:
    """Redis has noticed: it does at its next write."""
    return stumbling.submit("say no").status_code != 200


def test_with_fsync_at_every_write_redis_ends_and_what_it_acknowledged_stays(stumbling: Stumbling, go: Path) -> None:
    redis = stumbling.redis
    redis.client.config_set("appendfsync", "always")
    accepted = [stumbling.accepted(f"hold {go}")]
    with redis.full_disk():

        def refused() -> bool:
            answer = stumbling.submit(f"hold {go}")
            if answer.status_code == 200:
                accepted.append(answer.json()["task_id"])
            return answer.status_code == 503

        until(refused, "a submit is refused")
        until(redis.has_ended, "Redis ends: it cannot keep its promise")
    is_refused(stumbling.submit("say no"), "store_unavailable")
    redis.start()
    go.touch()
    for task_id in accepted:
        charged_nothing(stumbling.ended(task_id), stumbling)
