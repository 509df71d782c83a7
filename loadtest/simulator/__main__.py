"""`python -m loadtest.simulator`: runs the simulated model in the foreground until SIGTERM or Ctrl-C."""

import socket
import sys

from loadtest.simulator.app import Simulator
from loadtest.simulator.options import read_options
from loadtest.simulator.serving import serve

BACKLOG = 2048


def main(argv: list[str] | None = None) -> int:
    options = read_options(argv)
    if options.check:
        return 0
    try:
        listener = socket.create_server((options.host, options.port), family=_family(options.host), backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        sys.stderr.write(
            f"simulator: cannot listen on {options.host}:{options.port}: {reason}. Choose another port with --port.\n"
        )
        return 1
    simulator = Simulator(
        options.behaviour,
        context_window=options.context_window,
        journal_size=options.journal_size,
        keep_messages=options.keep_messages,
        quota=options.quota,
        seed=options.seed,
    )
    serve(simulator, listener, "simulated model (every answer is simulated) listening on")
    return 0


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


if __name__ == "__main__":
    sys.exit(main())
