"""The parent of every process of a run: starts them, tells how they end, and ends them all when the kit is gone.

    python -m tests.chaos.nursery RUN [MODULE TO LOAD ...]

Reads a line of JSON for each process, `{"id", "environment", "log", "cwd"}` and `command`, or `module` and
`arguments`; writes `{"loaded": true}` at first, `{"started": id, "pid"}` and `{"ended": pid, "code"}` (as subprocess's
returncode). A module runs as `python -m` would, in a fork of this process, which has loaded what takes seconds to load.

However the kit ends, its end of the pipe is closed then: nothing of a run outlives it. That goes for what its processes
started, too: all bear RUN, an id, in their environment (operations/leftovers.py).
"""

import gc
import importlib
import json
import os
import runpy
import select
import signal
import sys
import traceback
from contextlib import suppress
from typing import Any

from operations import leftovers

_LOOK_SECONDS = 0.02


class Nursery:
    def __init__(self, run_id: str, learned: dict[str, str]) -> None:
        """`learned`: variables that the modules set for themselves as they were loaded."""
        self._run_id, self._learned = run_id, learned
        self._alive: set[int] = set()
        self._input = b""

    def run(self) -> None:
        while True:
            readable, _, _ = select.select([0], [], [], _LOOK_SECONDS)
            if readable:
                read = os.read(0, 65_536)
                if not read:
                    break
                *lines, self._input = (self._input + read).split(b"\n")
                for line in lines:
                    wanted = json.loads(line)
                    _say({"started": wanted["id"], "pid": self._start(wanted)})
            self._bury()
        for pid in self._alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        leftovers.end(self._run_id)

    def _start(self, wanted: dict[str, Any]) -> int:
        pid = os.fork()
        if pid == 0:
            try:
                _become(wanted, self._learned)
            except BaseException:  # noqa: BLE001  a child never returns into the nursery's own code
                traceback.print_exc()
            finally:
                os._exit(1)
        self._alive.add(pid)
        return pid

    def _bury(self) -> None:
        while self._alive:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._alive.discard(pid)
            _say({"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def _become(wanted: dict[str, Any], learned: dict[str, str]) -> None:
    """Turns this fork into the process that is wanted; does not return."""
    out = os.open(wanted["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(wanted["cwd"])
    environment = {**wanted["environment"], leftovers.VARIABLE: os.environ[leftovers.VARIABLE]}
    if wanted.get("command"):
        os.execvpe(wanted["command"][0], wanted["command"], environment)
    os.environ.clear()
    os.environ.update({**learned, **environment})
    sys.argv = [wanted["module"], *wanted["arguments"]]
    code: Any = 0
    try:
        runpy.run_module(wanted["module"], run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code
    sys.stdout.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def _say(what: dict[str, Any]) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the kit's to answer
    run_id, before = sys.argv[1], dict(os.environ)
    for name in sys.argv[2:]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # so that the forks share it
    _say({"loaded": True})
    learned = {name: value for name, value in os.environ.items() if before.get(name) != value}
    Nursery(run_id, learned).run()


if __name__ == "__main__":
    main()
