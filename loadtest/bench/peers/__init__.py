"""Programs that do the same work on each queue: as a worker, and as the client that submits to it.

`python -m loadtest.bench.peers.NAME worker|client`, told the rest by its environment (`given.py`). A worker marks when
a task began and ended (`marks.py`); a client does what `driver.py` is told on its standard input.
"""
