"""`python -m loadtest.simulator`: runs the simulated model in the foreground until SIGTERM or Ctrl-C."""

import argparse
import logging
import signal
import socket
import sys
from types import FrameType

import uvicorn

from loadtest.simulator.app import Simulator
from loadtest.simulator.behaviour import Behaviour
from loadtest.simulator.log_line import LogLine

# Past a common client's own keep-alive, so that no request goes into a connection that is just being closed.
KEEP_ALIVE_SECONDS = 75
BACKLOG = 2048


def main(argv: list[str] | None = None) -> int:
    options = _options(argv)
    try:
        listener = socket.create_server((options.host, options.port), family=_family(options.host), backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        sys.stderr.write(
            f"simulator: cannot listen on {options.host}:{options.port}: {reason}. Choose another port with --port.\n"
        )
        return 1
    simulator = Simulator(
        Behaviour(delay=options.latency, first_token=options.first_token, tokens_per_second=options.tokens_per_second),
        context_window=options.context_window,
        journal_size=options.journal_size,
        keep_messages=options.keep_messages,
    )
    host, port = listener.getsockname()[:2]
    _serve(simulator, listener, f"http://{f'[{host}]' if ':' in host else host}:{port}/v1")
    return 0


def _serve(simulator: Simulator, listener: socket.socket, address: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogLine())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    # uvicorn's complaints are about answers that were cut because somebody asked for it; the app logs its own faults.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    config = uvicorn.Config(
        simulator,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=1,
    )
    # uvicorn raises the signal again when it has shut down: by then it has been obeyed.
    signal.signal(signal.SIGTERM, _obeyed)
    signal.signal(signal.SIGINT, _obeyed)
    sys.stdout.write(f"simulated model listening on {address} (every answer is simulated)\n")
    sys.stdout.flush()
    uvicorn.Server(config).run(sockets=[listener])


def _obeyed(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.simulator", description="A simulated model behind an OpenAI-compatible API."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8010, help="port, 0 for a free one (default: %(default)s)")
    parser.add_argument("--latency", type=_seconds, default=0.0, help="seconds before every answer (default: 0)")
    parser.add_argument("--first-token", type=_seconds, default=0.0, help="seconds to the first token (default: 0)")
    parser.add_argument("--tokens-per-second", type=_seconds, default=0.0, help="pace of an answer (default: 0, none)")
    parser.add_argument(
        "--context-window", type=_count, default=131_072, help="longest prompt, in tokens (default: %(default)s)"
    )
    parser.add_argument(
        "--journal-size", type=_count, default=10_000, help="calls that the journal keeps (default: %(default)s)"
    )
    parser.add_argument(
        "--keep-messages", action="store_true", help="keep all messages of a call in the journal (default: an excerpt)"
    )
    return parser.parse_args(argv)


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of 0 or more, got {text}")
    return number


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected an integer of 1 or more, got {text}")
    return number


if __name__ == "__main__":
    sys.exit(main())
