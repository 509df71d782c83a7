"""Longhaul from one command: `python3 manage.py start`, then `python3 manage.py --help`.

This file needs nothing but Python. Commands live in `operations/`, one a file; here are only their names, and the way
to an environment that can run them: the first run makes `.venv` from `requirements.lock` and goes on inside it.
`LONGHAUL_NO_VENV=1` uses the Python that runs this file as it is (a container image, a shared environment).

It has to parse on Python 3.8, to say there which Python it needs.
"""

import os
import shutil
import subprocess
import sys
from typing import List, Optional

NEEDED = (3, 11)

COMMANDS = (
    ("start", "start Redis, the simulated model, gateway and workers, and wait until they are ready"),
    ("stop", "let running tasks finish, then stop everything"),
    ("restart", "replace gateway and workers one by one, with the settings of now"),
    ("status", "processes, queue, workers, Redis and model"),
    ("doctor", "what is wrong here, or at --url, and what to do about it"),
    ("logs", "the last lines of every process's log"),
    ("ask", "submit a question, wait for the answer and print it"),
    ("tasks", "list tasks, by status, user, session, model, time"),
    ("why", "where a task's time went, and what it cost"),
    ("sessions", "conversations: list, show or delete what they remember"),
    ("dead", "dead letters: list, show, replay or purge them"),
    ("pause", "accept tasks of a model or an agent, but do not start them"),
    ("resume", "start them again; also ends a model's cooldown"),
    ("compare", "put one question to several models, and show their answers side by side"),
    ("smoke", "check a running system from outside"),
    ("load", "load a running system with many users, and report"),
    ("chaos", "break a private system while it works, and say whether anything was lost"),
    ("models", "the model registry; `models test` tries the keys"),
    ("cost", "tokens and cost by user, model, agent or caller"),
    ("keys", "make an API key"),
    ("bench", "measure Longhaul beside its peers on this machine, and compare with a saved run"),
    ("test", "format, lint, types, import contract and tests"),
)


def usage() -> str:
    width = max(len(name) for name, _ in COMMANDS)
    lines = ["usage: python3 manage.py COMMAND [options]     (COMMAND --help tells more)", ""]
    lines += ["  " + name.ljust(width) + "  " + summary for name, summary in COMMANDS]
    return "\n".join(lines)


def other_python() -> Optional[str]:
    """A newer Python on the PATH, or None. Each is asked: a version manager's stand-in may exist and not run."""
    question = "import sys; sys.exit(sys.version_info < %r)" % (NEEDED,)
    for name in ("python3.11", "python3.12", "python3.13", "python3.14", "python3"):
        path = shutil.which(name)
        if path and subprocess.call([path, "-c", question], stderr=subprocess.DEVNULL) == 0:
            return path
    return None


def main(arguments: List[str]) -> int:
    if sys.version_info < NEEDED:
        path = other_python()
        if path:
            os.execv(path, [path, __file__] + arguments)  # noqa: RUF005, S606 no shell is wanted; plain to old eyes
        version = ".".join(map(str, NEEDED))
        running = ".".join(map(str, sys.version_info[:3]))
        sys.exit("Longhaul needs Python %s or newer; this is %s, and the PATH holds no newer one." % (version, running))
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] not in [name for name, _ in COMMANDS]:
        print("manage.py: there is no command %r\n\n%s" % (arguments[0], usage()), file=sys.stderr)
        return 2
    if os.environ.get("LONGHAUL_NO_VENV", "") in ("", "0"):
        from operations import environment  # noqa: PLC0415 needs the Python that was just checked for

        environment.enter(arguments)
    from operations import commandline  # noqa: PLC0415 as above

    return commandline.run(arguments[0], arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
