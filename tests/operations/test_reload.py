"""`start --reload`: a change of the agents' code replaces the workers, and a broken one takes nothing down."""

import json
from collections.abc import Callable
from pathlib import Path

from operations import runstate

from .conftest import Copy, until

FINE = "AGENTS = {'default': None, 'writer': None}\n"
AGENTS_FILE = '[agents.writer]\nprompt = "Write."\n'


def pids(copy: Copy) -> dict[str, int]:
    return {record.name: record.pid for record in copy.state().processes if not record.retiring}


def replaced(before: dict[str, int], after: dict[str, int]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


def log_of(copy: Copy) -> str:
    return (copy.var / "logs" / "supervisor.log").read_text()


def changes(copy: Copy) -> list[str]:
    """What the supervisor saw change, in order."""
    return [line.split("reload: changed: ")[1] for line in log_of(copy).splitlines() if "reload: changed: " in line]


def edit(path: Path, text: str) -> None:
    """As editors do: a new file in the place of the old one."""
    partial = path.with_name(f".{path.name}.swp")
    partial.write_text(text)
    partial.replace(path)


WORKER, GATEWAY, FAILED = "reload: worker-1: replaced", "reload: gateway-1: replaced", "reload failed: "


def settles(copy: Copy, ends_with: str, begin: Callable[[], object]) -> dict[str, int]:
    """The processes after `begin` has had its effect, of which the log's last word is `ends_with`."""
    before = log_of(copy).count(ends_with)
    begin()
    until(lambda: log_of(copy).count(ends_with) > before, f"the log says {ends_with}", 60)
    until(lambda: not any(record.retiring for record in copy.state().processes), "the old ones have ended")
    return pids(copy)


def write_what_is_no_agents_code(copy: Copy) -> None:
    for name in ("var/x.py", "agent/__pycache__/x.py", ".git/x.py", "team/answer.txt", "gateway/x.py", "team/.x/y.py"):
        path = copy.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("changed\n")


def test_workers_follow_the_code_and_a_broken_one_leaves_what_runs(copy: Copy) -> None:
    probe, file = copy.folder / "agent" / "reload_probe.py", copy.folder / "team" / "agents.toml"
    file.parent.mkdir()
    file.write_text(AGENTS_FILE)
    copy.environment["AGENTS_FILE"] = str(file)
    started = copy.manage("start", "--reload")
    assert started.returncode == 0, started.stderr
    assert "Reload on" in started.stdout
    first = pids(copy)

    write_what_is_no_agents_code(copy)
    after = settles(copy, WORKER, lambda: edit(probe, FINE))
    assert changes(copy) == ["agent/reload_probe.py"]
    assert replaced(first, after) == {"worker-1"}
    report = json.loads(copy.manage("status", "--json").stdout)
    assert {name: word["problem"] for name, word in report["agents"].items()} == {"default": None, "writer": None}
    assert (report["reload"], report["problems"]) == (True, [])

    # code that keeps a worker from coming up; and the agents file, which concerns the gateways too, changes with it
    def break_it() -> None:
        edit(probe, "def broken(:\n")
        edit(file, AGENTS_FILE + 'description = "Writes."\n')

    broken = settles(copy, FAILED, break_it)
    assert broken == after
    status = copy.manage("status")
    assert status.returncode == 1
    assert "the last change of the agents' code is not running: the new worker-1 does not come up" in status.stdout
    assert "SyntaxError" in status.stdout
    assert copy.get("/ready").status_code == 200

    mended = settles(
        copy, GATEWAY, lambda: edit(probe, FINE.replace("None}", "'agents.toml, line 1: no pen. Buy one.'}"))
    )
    assert replaced(broken, mended) == {"worker-1", "gateway-1"}
    assert log_of(copy).rindex(WORKER) < log_of(copy).rindex(GATEWAY), "no gateway offers what no worker has"
    status = copy.manage("status")
    assert status.returncode == 1
    assert [line for line in status.stdout.splitlines() if line.startswith("  !")] == [
        "  ! agent 'writer': agents.toml, line 1: no pen. Buy one."
    ]

    assert settles(copy, FAILED, lambda: edit(file, AGENTS_FILE + "promt = 3\n")) == mended
    assert copy.state().reload_failure.startswith(f"AGENTS_FILE {file}, line 3, agent 'writer', promt: ")
    assert all(record.restarts == 0 for record in copy.state().processes)

    # a restart in between, and a new folder: it goes on following
    edit(file, AGENTS_FILE)
    done = copy.manage("restart")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-2:] == [
        "Warning: 1 of 2 agents cannot be run. Tasks for them are refused; others run.",
        "  writer: agents.toml, line 1: no pen. Buy one.",
    ]
    assert copy.state().reload
    until(lambda: not copy.state().reload_failure, "the corrected file is taken over", 60)
    before = pids(copy)
    (copy.folder / "team" / "tools").mkdir()
    later = settles(copy, WORKER, lambda: (copy.folder / "team" / "tools" / "count.py").write_text("x = 1\n"))
    assert "worker-1" in replaced(before, later)
    assert changes(copy)[-1] == "team/tools/count.py"

    left = copy.pids()
    assert copy.manage("stop").returncode == 0
    assert all(map(runstate.has_ended, left))


def test_a_copy_that_follows_nothing_says_so(running_copy: Copy) -> None:
    before = pids(running_copy)
    again = running_copy.manage("start", "--reload")
    assert again.returncode == 0
    assert "It does not follow the agents' code" in again.stderr
    assert json.loads(running_copy.manage("status", "--json").stdout)["reload"] is False
    assert pids(running_copy) == before
