"""`python -m gateway [--fd N]`: serves on GATEWAY_HOST:GATEWAY_PORT, or on a listening socket that the parent opened.

Exit codes: 0 stopped as asked, 2 a setting that cannot work (said on stderr), 1 anything else.
"""

import argparse
import gc
import logging
import signal
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from core_config import ConfigurationError, Settings, keep_loopback_off_proxies
from monitoring.logs import log_what_ends_it, setup_logging

CONFIGURATION_ERROR = 2

log = logging.getLogger("gateway")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    # without a handler of ours, uvicorn would end a clean stop by killing the process with the signal it got
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        _serve(Settings(), arguments.fd)
    except ValidationError as error:
        return _refuse(_sentences(error))
    except ConfigurationError as error:
        return _refuse([str(error)])
    except KeyboardInterrupt:
        pass
    return 0


def _serve(settings: Settings, fd: int | None) -> None:
    from .app import create_app, refuse_open_door  # noqa: PLC0415  a bad setting is told before the slow imports
    from .redis_at_start import refuse_eviction  # noqa: PLC0415
    from .server import Server, address_of, inherited_socket, own_socket  # noqa: PLC0415

    keep_loopback_off_proxies()
    setup_logging(settings, "gateway")
    app = create_app(settings)
    listener = own_socket(settings.gateway_host, settings.gateway_port) if fd is None else inherited_socket(fd)
    with listener:
        host = address_of(listener)
        if host is not None:
            refuse_open_door(settings, host)
        refuse_eviction(settings)
        log.info("listening", extra={"address": listener.getsockname(), "fd": fd})
        gc.collect()
        gc.freeze()  # what start-up made stays: the collector need not walk it again
        Server(app).run(sockets=[listener])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m gateway", description="Longhaul's HTTP gateway.")
    parser.add_argument("--fd", type=int, help="file descriptor of a listening socket to serve on")
    return parser


def _sentences(error: ValidationError) -> list[str]:
    """One line a setting: its name, its value and what is wrong. Values that may be secret are left out."""
    lines = []
    for one in error.errors(include_url=False):
        name = ".".join(str(part) for part in one["loc"]).upper()
        shown = "" if any(word in name for word in ("KEY", "SECRET", "URL")) else f"={one['input']!r}"
        lines.append(f"{name}{shown}: {one['msg']}")
    return lines


def _refuse(reasons: Sequence[str]) -> int:
    for reason in reasons:
        print(f"gateway: {reason}", file=sys.stderr)  # noqa: T201  for the person who started it
    return CONFIGURATION_ERROR


if __name__ == "__main__":
    log_what_ends_it()
    sys.exit(main())
