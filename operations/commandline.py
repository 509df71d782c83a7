"""Runs one command of `manage.py`: its options, and what an expected fault looks like.

A command is a module of this package with `add_arguments(parser)` and `run(arguments) -> int`; its docstring is its
help. It exits 0, or 1 after a `CommandError`, or 2 on wrong usage, or 130 on Ctrl-C; a command that has more codes says
so in its docstring. One with `TAKES_EXTRA` gets options that it does not know as `arguments.extra`.
"""

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Sequence

from operations.errors import CommandError


def run(name: str, arguments: Sequence[str]) -> int:
    command = importlib.import_module(f"operations.{name}")
    parser = argparse.ArgumentParser(
        prog=f"manage.py {name}",
        description=command.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_arguments(parser)
    parsed, extra = parser.parse_known_args(arguments)
    if extra and not hasattr(command, "TAKES_EXTRA"):
        parser.error(f"unrecognized arguments: {' '.join(extra)}")
    parsed.extra = extra
    try:
        code: int = command.run(parsed)
        sys.stdout.flush()
    except CommandError as error:
        print(f"manage.py {name}: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        print(f"manage.py {name}: interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of `manage.py logs | head` has seen enough
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code
