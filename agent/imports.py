"""Finds what an import path of the agents file names: `module:attribute`."""

import importlib
import inspect
import sys
import traceback
from pathlib import Path
from typing import Any

from agent.errors import UnavailableError
from core_config import ROOT, nearest

_SAFE = (ImportError, NameError, AttributeError)
"""Exceptions whose text tells of names in the code, and of no values."""


def add_to_path(agents_file: Path | None) -> None:
    """Lets import paths start at the project and at the agents file's folder. After all else, so that a module of an
    agent's takes no other's place.
    """
    folders = [ROOT] if agents_file is None else [ROOT, agents_file.parent]
    sys.path += [str(folder) for folder in folders if str(folder) not in sys.path]


def imported(path: str, where: str) -> Any:
    """The object. Raises UnavailableError; `where` begins its message."""
    module_name, _, attribute = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise UnavailableError(
                f"{where}: there is no module {error.name!r}. Put it beside the agents file, or install it."
            ) from None
        raise failed(where + ":", f"importing {module_name!r} failed", error) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a module may end with sys.exit()
        raise failed(where + ":", f"importing {module_name!r} failed", error) from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        names = [name for name in vars(module) if not name.startswith("_")]
        raise UnavailableError(
            f"{where}: {module.__file__ or module_name} has no {attribute!r}; {nearest(attribute, names)}."
        ) from None


def place_of(function: Any) -> str:
    """File and line of a function, to tell where to mend it."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return "its module" if code is None else f"{code.co_filename}, line {code.co_firstlineno}"


def failed(where: str, what: str, error: BaseException) -> UnavailableError:
    """What is told of code that raised: its place and kind, and its text only when that can hold no secret."""
    if isinstance(error, SyntaxError):
        place, kind = f"{error.filename}, line {error.lineno}", f"SyntaxError: {error.msg}"
    else:
        frames = traceback.extract_tb(error.__traceback__)
        frame = next((one for one in reversed(frames) if not one.filename.startswith("<frozen")), frames[-1])
        place, kind = f"{frame.filename}, line {frame.lineno}", type(error).__name__
        if isinstance(error, _SAFE):
            kind += f": {error}"
    return UnavailableError(f"{where} {what} at {place} ({kind}). Correct it and restart.")
