"""How many tasks run at once over many workers, and how fast short ones follow each other."""

from collections.abc import Sequence

from tests.long.deployment import Deployment
from tests.long.running import Line, until

WORKERS, SLOTS = 12, 10
SHORT_S, SHORT_TASKS = 0.1, 600


def most_at_once(lines: Sequence[Line]) -> int:
    """By what the runs wrote themselves."""
    now = most = 0
    for line in sorted(lines, key=lambda line: line.at):
        now += 1 if line.what == "begin" else -1
        most = max(most, now)
    return most


def test_every_slot_of_twelve_workers_is_used(tmp_path, report):
    """More tasks than slots: all slots run one, and no worker runs more than it has."""
    with Deployment(tmp_path / "room", WORKER_CONCURRENCY=SLOTS) as deployment:
        seen = deployment.seen
        deployment.start_gateway()
        deployment.at_work(*(deployment.start_worker() for _ in range(WORKERS)))
        tasks = [seen.submit(until=str(tmp_path / "go")) for _ in range(WORKERS * SLOTS + SLOTS)]
        until(lambda: len(seen.lines()) >= WORKERS * SLOTS, "all slots are used")
        each = set(seen.at_work().values())
        (tmp_path / "go").touch()
        seen.wait_final(tasks)
        most = most_at_once(seen.lines())
    report(
        f"{WORKERS} workers of {SLOTS} slots: tasks at once (stock arq: 100)",
        str(WORKERS * SLOTS),
        str(most),
        met=most == WORKERS * SLOTS,
    )
    assert each == {SLOTS}
    assert most == WORKERS * SLOTS


def test_short_tasks_follow_each_other(tmp_path, report):
    with Deployment(tmp_path / "short", WORKER_CONCURRENCY=SLOTS) as deployment:
        seen = deployment.seen
        deployment.start_gateway()
        tasks = [seen.submit(seconds=SHORT_S) for _ in range(SHORT_TASKS)]
        deployment.at_work(deployment.start_worker())
        seen.wait_final(tasks)
        times = [line.at for line in seen.lines()]
        assert most_at_once(seen.lines()) == SLOTS
    rate = SHORT_TASKS / (max(times) - min(times))
    report(
        f"tasks of {SHORT_S * 1000:.0f} ms on {SLOTS} slots, a second (stock arq: 22)",
        f"at least 90, of {SLOTS / SHORT_S:.0f}",
        f"{rate:.1f}",
        met=rate >= 90,
    )
