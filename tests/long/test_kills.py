"""kill -9 of a worker, fifty times: how soon its tasks run again, and that each ends once and pays for what it met."""

import os
import random
import signal
import statistics
import subprocess
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from core_config import Settings
from tests.long.deployment import Deployment
from tests.long.managed import WORKERS, managed, worker_pids
from tests.long.report import Report
from tests.long.running import Running, until

KILLS = 50
LEASE_S = Settings.model_fields["lease_seconds"].default
HELD, BUSY = 4, 2
SLICE_S = 0.02
"""How long a busy task computes before it lets others run: the loop is never idle, and no turn of it is short."""


class Tally:
    """What the kills came to: seconds until a task ran again, and tasks that did not end as they should."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.wrong: list[str] = []
        self.struck = 0

    def round(self, seen: Running, held: list[str], victim: int, killed_at: float) -> None:
        """After all have ended: those of the victim ran twice and paid for one crash, the others once and for none."""
        for task in held:
            runs, record, ends = seen.runs(task), seen.record(task), seen.ends(task)
            was_struck = runs[0].pid == victim
            self.struck += was_struck
            paid = (len(runs), record["attempt"], record["crashes"], record["retries"])
            if paid != ((2, "2", "1", "0") if was_struck else (1, "1", "0", "0")) or ends != ["success"]:
                struck = "struck" if was_struck else "not struck"
                self.wrong.append(f"{struck}: runs, attempt, crashes, retries {paid}, {ends}, {runs}, {record}")
        again = [seen.runs(task)[-1].at for task in held if seen.runs(task)[0].pid == victim]
        self.waits.append(max(again) - killed_at)

    def report(self, report: Report, about: str, most_s: float, goal: str) -> None:
        p99 = statistics.quantiles(self.waits, n=100, method="inclusive")[98]
        report(
            f"{about}: seconds until the tasks run again",
            goal,
            f"p50 {statistics.median(self.waits):.2f}, p99 {p99:.2f}, most {max(self.waits):.2f}",
            met=p99 <= most_s,
        )
        about = f"{about}: of {self.struck} tasks struck, not ended once with one crash charged"
        report(about, "0", str(len(self.wrong)), met=not self.wrong)
        assert self.struck >= len(self.waits)
        assert not self.wrong, "\n".join(self.wrong)


def one_kill(seen: Running, folder: Path, number: int, dice: random.Random) -> tuple[list[str], int, float]:
    """Tasks that wait, some on the worker that is killed: their ids, its pid, and when it was killed."""
    held = [seen.submit(until=str(folder / f"go{number}")) for _ in range(HELD)]
    until(lambda: all(seen.runs(task) for task in held), "all run")
    time.sleep(dice.uniform(0, LEASE_S / 2))  # at any point between two renewals
    victim = seen.runs(held[0])[0].pid
    killed_at = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    return held, victim, killed_at


def run_again(seen: Running, held: list[str], victim: int) -> bool:
    return all(seen.runs(task)[-1].pid != victim for task in held)


def keep_busy(seen: Running, folder: Path, number: int, workers: list["subprocess.Popen[bytes]"]) -> list[str]:
    """Tasks that compute, until each worker has as many as keep its event loop from ever being idle."""
    busy: list[str] = []

    def enough() -> bool:
        busy.append(seen.submit(until=str(folder / f"go{number}"), busy=SLICE_S))
        until(lambda: seen.runs(busy[-1]), "it computes")
        per_worker = Counter(seen.runs(task)[0].pid for task in busy)
        return all(per_worker[worker.pid] >= BUSY for worker in workers)

    until(enough, "every worker is busy")
    return busy


@pytest.mark.parametrize("loops", ["idle", "busy"])
def test_tasks_of_a_killed_worker_run_again(loops, tmp_path, report):
    """No supervisor: only the lease says that the worker is gone. The dead one's successor starts at once."""
    dice, tally = random.Random(4), Tally()
    with Deployment(tmp_path / loops) as deployment:
        seen = deployment.seen
        deployment.start_gateway()
        workers = [deployment.start_worker(), deployment.start_worker()]
        for number in range(KILLS):
            deployment.at_work(*workers)
            busy = keep_busy(seen, tmp_path, number, workers) if loops == "busy" else []
            held, victim, killed_at = one_kill(seen, tmp_path, number, dice)
            workers = [worker for worker in workers if worker.pid != victim]
            until(partial(run_again, seen, held, victim), "the victim's tasks run again")
            workers.append(deployment.start_worker())
            (tmp_path / f"go{number}").touch()
            seen.wait_final([*held, *busy])
            tally.round(seen, held, victim, killed_at)
        assert seen.audit() == []
    how = "idle" if loops == "idle" else f"never idle, {SLICE_S * 1000:g} ms a task and turn"
    about = f"{KILLS} kills, no supervisor, event loops {how}"
    tally.report(report, about, LEASE_S + 1, f"p99 at most {LEASE_S + 1:g} (lease + 1)")


def test_tasks_of_a_killed_worker_run_again_at_once_under_a_supervisor(tmp_path, report):
    dice, tally = random.Random(5), Tally()
    with managed(tmp_path / "managed") as (system, seen):
        for number in range(KILLS):
            until(
                lambda: len(worker_pids(system)) == WORKERS and worker_pids(system) <= seen.workers(),
                "both are at work",
            )
            held, victim, killed_at = one_kill(seen, tmp_path, number, dice)
            until(partial(run_again, seen, held, victim), "the victim's tasks run again")
            (tmp_path / f"go{number}").touch()
            seen.wait_final(held)
            tally.round(seen, held, victim, killed_at)
        assert seen.audit() == []
    tally.report(report, f"{KILLS} kills under manage.py", 1, "under 1")
