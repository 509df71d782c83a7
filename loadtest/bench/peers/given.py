"""What a worker or client is told by its environment: frameworks import an application before they read arguments."""

import os
from pathlib import Path
from typing import Final

REDIS: Final = os.environ["BENCH_REDIS"]
CONCURRENCY: Final = int(os.environ["BENCH_CONCURRENCY"])
MARKS: Final = Path(os.environ["BENCH_MARKS"])
QUEUE: Final = "bench"
