"""Twenty rolling restarts under load: nobody is refused, no task pays, every process ends in time."""

import threading
import time
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field

import httpx

from operations import logfiles, runstate
from tests.long.managed import managed, state
from tests.long.running import Running
from tests.system.conftest import System

RESTARTS = 20
CLIENTS, EACH_S = 4, 0.25
TASK_S = 1
OUTLAST_S, OUTLAST_EVERY_S = 40, 5
"""Of tasks that no drain waits for: a worker gives them back. They are submitted during two of the restarts."""


@dataclass
class Load:
    """Clients that submit steadily, half of them each time on a new connection."""

    seen: Running
    tasks: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def goes_on(self):
        threads = [threading.Thread(target=self._submit, args=(number % 2 == 0,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def _submit(self, stays_connected: bool) -> None:
        body = {"agent": "counted", "input": {"journal": str(self.seen.folder / "journal"), "seconds": TASK_S}}
        with ExitStack() as stack:
            kept = stack.enter_context(httpx.Client(base_url=self.seen.url, trust_env=False, timeout=30))
            while not self._over.wait(EACH_S):
                try:
                    if stays_connected:
                        answer = kept.post("/task", json=body)
                    else:
                        answer = httpx.post(f"{self.seen.url}/task", json=body, trust_env=False, timeout=30)
                except httpx.HTTPError as error:
                    self.refused.append(f"{'kept' if stays_connected else 'new'} connection: {error!r}")
                    continue
                if answer.status_code == 200:
                    self.tasks.append(answer.json()["task_id"])
                else:
                    self.refused.append(f"{answer.status_code}: {answer.text}")


@contextmanager
def outlast(seen: Running, tasks: list[str]):
    over = threading.Event()

    def submit() -> None:
        tasks.append(seen.submit(seconds=OUTLAST_S))
        while not over.wait(OUTLAST_EVERY_S):
            tasks.append(seen.submit(seconds=OUTLAST_S))

    thread = threading.Thread(target=submit)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@dataclass
class Exits:
    """How long each process takes from when it is told to end, by run.json and the process table."""

    system: System
    seconds: list[float] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def watched(self):
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _watch(self) -> None:
        told: dict[int, float] = {}
        while not self._over.wait(0.02):
            for record in state(self.system).processes:
                if record.retiring:
                    told.setdefault(record.pid, time.monotonic())
            for pid in [pid for pid in told if runstate.has_ended(pid)]:
                self.seconds.append(time.monotonic() - told.pop(pid))


def test_rolling_restarts_under_load(tmp_path, report):
    with managed(tmp_path / "rolling") as (system, seen):
        load, exits = Load(seen), Exits(system)
        outlasting: list[str] = []
        done, broken_off = 0, 0
        with load.goes_on(), exits.watched():
            while done < RESTARTS:
                with outlast(seen, outlasting) if done % 10 == 1 else nullcontext():
                    restart = system.manage("restart", timeout=900)
                done += restart.returncode == 0
                if restart.returncode:
                    # on a machine so busy that a worker takes a minute to start; what ran runs on, under the same rules
                    assert "does not come up (it gives no sign of life)" in restart.stderr, restart.stderr
                    broken_off += 1
                    assert broken_off < RESTARTS, restart.stderr
        tasks = load.tasks + outlasting
        records = seen.wait_final(tasks, within_s=300)
        charged = [
            record for record in records if (record["attempt"], record["crashes"], record["retries"]) != ("1", "0", "0")
        ]
        wrong = [task for task in tasks if seen.ends(task) != ["success"]]
        released = sum(len(seen.runs(task)) - 1 for task in outlasting)
        supervisor = (logfiles.directory(system.folder / "var") / "supervisor.log").read_text()
        killed = supervisor.count("does not end; killing it")
        assert seen.audit() == []
    about = f"{RESTARTS} rolling restarts under load"
    if broken_off:
        about += f" (and {broken_off} broken off: a successor took longer than a minute)"
    refused = len(load.refused)
    report(f"{about}: of {len(load.tasks) + refused} submits refused", "0", str(refused), met=not refused)
    report(f"{about}: attempts charged", "0", f"{len(charged)} ({released} given back)", met=not charged)
    report(f"{about}: tasks that did not end once, in success", "0", str(len(wrong)), met=not wrong)
    report(
        f"{about}: seconds until a process ended, of {len(exits.seconds)}",
        "at most 30",
        f"most {max(exits.seconds):.1f}; {killed} had to be killed",
        met=max(exits.seconds) <= 30 and not killed,
    )
    assert load.refused == []
    assert charged == []
    assert wrong == []
    assert released >= 1
    assert killed == 0
