"""A process that shares its counts, driven by the lines of its stdin: answers each with one on stdout.

`count ENDPOINT N`    counts N requests and one duration
`streams N`           says how many are open
`shared`              whether it shares its counts, and why not
`page`                the gateways' page, as JSON
`serve PORT`          starts the workers' page; without the port it tries again soon
`threads`             says how many there are
`again [LARGEST]`     makes it another process with the same id, which may write so many bytes into a file
`read DIRECTORY STEP` reads another directory in a process that is killed at that step of putting the dead together (0
                      is before the first), and answers whether it was
"""

import json
import os
import resource
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from core_config import Settings
from monitoring import exposition, metrics
from monitoring.logs import setup_logging
from monitoring.sharing import CountsDirectory
from worker import metrics_server


def killed_at(step: int) -> None:
    """From the next change of a directory on, counted from 0."""
    left = step

    def counted(name: str) -> None:
        change = getattr(Path, name)

        def changes(path: Path, *arguments: Any, **options: Any) -> Any:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return change(path, *arguments, **options)

        setattr(Path, name, changes)

    for name in ("rename", "unlink", "write_bytes"):
        counted(name)


def answer(verb: str, *arguments: str) -> str:
    match verb:
        case "count":
            endpoint, times = arguments
            metrics.REQUESTS.labels(endpoint, "200", "other").inc(int(times))
            metrics.REQUEST_DURATION.labels(endpoint, "other", "").observe(0.02)
            metrics.LEASES_LOST.inc(int(times))
        case "streams":
            metrics.STREAMS.set(int(arguments[0]))
        case "shared":
            return json.dumps([metrics.SHARED is not None, metrics.UNSHARED_BECAUSE])
        case "page":
            return json.dumps(exposition.page()[0].decode())
        case "serve":
            metrics_server.AGAIN_AFTER_S = 0.01
            metrics_server.MetricsServer(Settings(worker_metrics_port=int(arguments[0]))).start()
        case "threads":
            return str(threading.active_count())
        case "again":
            if arguments:
                resource.setrlimit(resource.RLIMIT_FSIZE, (int(arguments[0]),) * 2)
            print("done", flush=True)  # noqa: T201  as below
            os.execv(sys.executable, [sys.executable, "-m", "tests.monitoring.metrics.counting"])
        case "read":
            return "killed" if killed_reading(Path(arguments[0]), int(arguments[1])) else "survived"
    return "done"


def killed_reading(directory: Path, step: int) -> bool:
    if (reader := os.fork()) == 0:
        killed_at(step)
        CountsDirectory(directory).read()
        os._exit(0)
    _, status = os.waitpid(reader, 0)
    return os.WIFSIGNALED(status)


setup_logging(Settings(), "counting")
for line in sys.stdin:
    print(answer(*line.split()), flush=True)  # noqa: T201  that is how it answers
