"""`start --reload`: a change of the agents' code replaces the workers, and a broken one takes nothing down."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from .conftest import Copy, until

FINE = "AGENTS = {'default': None, 'writer': None}\n"
AGENTS_FILE = '[agents.writer]\nprompt = "Write."\n'


def pids(copy: Copy) -> dict[str, int]:
    return {record.name: record.pid for record in copy.state().processes if not record.retiring}


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


def settles(copy: Copy, begin: Callable[[], object]) -> dict[str, int]:
    """The processes after `begin` has had its effect: one more change was seen, and it worked out or not."""
    ended = ("reload: worker-1: ", "ERROR reload: ")
    before = sum(log_of(copy).count(words) for words in ended)
    begin()
    until(lambda: sum(log_of(copy).count(words) for words in ended) > before, "a reload ends", 30)
    until(lambda: not any(record.retiring for record in copy.state().processes), "the old ones have ended")
    return pids(copy)


def write_what_is_no_agents_code(copy: Copy) -> None:
    for name in ("var/x.py", "agent/__pycache__/x.py", ".git/x.py", "team/answer.txt", "gateway/x.py", "team/.x/y.py"):
        path = copy.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("changed\n")


def test_workers_follow_the_code_and_a_broken_one_leaves_what_runs(copy: Copy) -> None:
    probe, file = copy.folder / "agent" / "probe.py", copy.folder / "team" / "agents.toml"
    file.parent.mkdir()
    file.write_text(AGENTS_FILE)
    copy.environment["AGENTS_FILE"] = str(file)
    started = copy.manage("start", "--reload")
    assert started.returncode == 0, started.stderr
    assert "Reload on" in started.stdout
    first = pids(copy)

    write_what_is_no_agents_code(copy)
    after = settles(copy, lambda: edit(probe, FINE))
    assert changes(copy) == ["agent/probe.py"]
    assert {name for name in first if after[name] != first[name]} == {"worker-1"}
    report = json.loads(copy.manage("status", "--json").stdout)
    assert {name: word["problem"] for name, word in report["agents"].items()} == {"default": None, "writer": None}
    assert (report["reload"], report["problems"]) == (True, [])

    broken = settles(copy, lambda: edit(probe, "def broken(:\n"))
    assert broken == after
    status = copy.manage("status")
    assert status.returncode == 1
    assert "the last change of the agents' code is not running: the new worker-1 does not come up" in status.stdout
    assert "SyntaxError" in status.stdout
    assert copy.get("/ready").status_code == 200

    mended = settles(copy, lambda: edit(probe, FINE.replace("None}", "'agents.toml, line 1: no pen. Buy one.'}")))
    assert {name for name in first if mended[name] != broken[name]} == {"worker-1"}
    status = copy.manage("status")
    assert status.returncode == 1
    assert [line for line in status.stdout.splitlines() if line.startswith("  !")] == [
        "  ! agent 'writer': agents.toml, line 1: no pen. Buy one."
    ]

    assert settles(copy, lambda: edit(file, AGENTS_FILE + "promt = 3\n")) == mended
    status = copy.manage("status")
    assert f"AGENTS_FILE {file}, line 3, agent 'writer', promt: " in status.stdout
    refused = copy.manage("restart")
    assert (refused.returncode, "line 3, agent 'writer', promt" in refused.stderr) == (1, True)
    assert pids(copy) == mended

    # the whole file concerns the gateways too; their workers come first
    settles(copy, lambda: edit(file, AGENTS_FILE + 'description = "Writes."\n'))
    until(lambda: "reload: gateway-1: replaced" in log_of(copy), "the gateway is replaced")
    both = pids(copy)
    assert {name for name in first if both[name] != mended[name]} == {"worker-1", "gateway-1"}
    assert copy.get("/ready").status_code == 200
    assert all(record.restarts == 0 for record in copy.state().processes)

    # a new folder, and a restart in between: it goes on following
    done = copy.manage("restart")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-2:] == [
        "Warning: 1 of 2 agents cannot be run. Tasks for them are refused; others run.",
        "  writer: agents.toml, line 1: no pen. Buy one.",
    ]
    assert copy.state().reload
    restarted = pids(copy)
    (copy.folder / "team" / "tools").mkdir()
    later = settles(copy, lambda: (copy.folder / "team" / "tools" / "count.py").write_text("x = 1\n"))
    assert {name for name in first if later[name] != restarted[name]} == {"worker-1"}
    assert changes(copy)[-1] == "team/tools/count.py"

    assert copy.manage("stop").returncode == 0
    assert not os.path.lexists(copy.var / "run.json")


def test_a_copy_that_follows_nothing_says_so(running_copy: Copy) -> None:
    before = pids(running_copy)
    again = running_copy.manage("start", "--reload")
    assert again.returncode == 0
    assert "It does not follow the agents' code" in again.stderr
    assert json.loads(running_copy.manage("status", "--json").stdout)["reload"] is False
    assert pids(running_copy) == before
