"""A Redis that is paused for longer than a lease, and an event loop that an agent blocks: neither charges a task."""

import signal
import time

from tests.long.deployment import Deployment
from tests.long.running import until

PAUSE_S, STALL_S = 7, 8
TASKS = 40


def test_a_redis_that_is_paused_charges_no_task(tmp_path, report):
    with Deployment(tmp_path / "paused") as deployment:
        seen = deployment.seen
        deployment.start_gateway()
        deployment.at_work(deployment.start_worker(), deployment.start_worker())
        tasks = [seen.submit(until=str(tmp_path / "go")) for _ in range(TASKS)]
        until(lambda: all(seen.runs(task) for task in tasks), "all run")
        assert deployment.redis_server.process is not None
        deployment.redis_server.process.send_signal(signal.SIGSTOP)
        time.sleep(PAUSE_S)  # the fault itself
        deployment.redis_server.process.send_signal(signal.SIGCONT)
        time.sleep(2 * PAUSE_S)  # longer than what is left of any lease: who would be charged has been
        (tmp_path / "go").touch()
        records = seen.wait_final(tasks)
        charged = [record for record in records if (record["crashes"], record["retries"]) != ("0", "0")]
        wrong = [task for task in tasks if seen.ends(task) != ["success"]]
        again = sum(len(seen.runs(task)) - 1 for task in tasks)
        assert seen.audit() == []
    about = f"Redis paused for {PAUSE_S} s under {TASKS} running tasks"
    report(f"{about}: tasks charged", "0", f"{len(charged)} ({again} began again, unspent)", met=not charged)
    report(f"{about}: tasks that did not end once, in success", "0", str(len(wrong)), met=not wrong)
    assert charged == []
    assert wrong == []


def test_a_loop_that_is_stalled_loses_nothing(tmp_path, report):
    """A second worker stands by with room, so that a lease that ran out would be taken over."""
    with Deployment(tmp_path / "stalled") as deployment:
        seen = deployment.seen
        deployment.start_gateway()
        deployment.at_work(deployment.start_worker(), deployment.start_worker())
        neighbours = [seen.submit(until=str(tmp_path / "go")) for _ in range(TASKS)]
        until(lambda: all(seen.runs(task) for task in neighbours), "all run")
        stalls = [seen.submit(stall=STALL_S, seconds=0)]
        until(lambda: seen.runs(stalls[0]), "it stalls")
        struck = [task for task in neighbours if seen.runs(task)[0].pid == seen.runs(stalls[0])[0].pid]
        records = seen.wait_final(stalls)
        (tmp_path / "go").touch()
        tasks = [*neighbours, *stalls]
        records = seen.wait_final(tasks)
        wrong = [
            record
            for task, record in zip(tasks, records, strict=True)
            if (len(seen.runs(task)), record["attempt"], record["crashes"], record["retries"]) != (1, "1", "0", "0")
            or seen.ends(task) != ["success"]
        ]
        assert seen.audit() == []
    report(
        f"a loop stalled for {STALL_S} s: of its {len(struck) + 1} tasks lost, charged or run twice",
        "0",
        str(len(wrong)),
        met=not wrong,
    )
    assert wrong == []
