"""A typed function of somebody's own as a tool: its name, annotations and docstring are what the model sees."""

import inspect
from typing import Any

from langchain_core.tools import BaseTool, StructuredTool

from agent.errors import UnavailableError
from agent.imports import place_of


def as_tool(found: Any, path: str, where: str) -> StructuredTool:
    """The tool of what `path` names. Raises UnavailableError when a model could not know how to call it."""
    if isinstance(found, StructuredTool):
        return found
    if isinstance(found, BaseTool) or not inspect.isfunction(found):
        raise UnavailableError(
            f"{where}: {path} is a {type(found).__name__}. A tool is a typed function with a docstring."
        )
    about = f"{where}: {path} ({place_of(found)})"
    if not (inspect.getdoc(found) or "").strip():
        raise UnavailableError(f"{about} has no docstring, which is all that tells the model what it does. Write one.")
    for name, parameter in inspect.signature(found).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise UnavailableError(f"{about} takes any arguments ({parameter}). Name each one, with its type.")
        if parameter.annotation is parameter.empty:
            raise UnavailableError(f"{about}: the parameter {name!r} has no type. Write one, such as {name}: str.")
    try:
        if inspect.iscoroutinefunction(found):
            return StructuredTool.from_function(coroutine=found)
        return StructuredTool.from_function(func=found)
    except Exception as error:
        why = str(error).splitlines()[0][:200] if str(error) else ""
        raise UnavailableError(
            f"{about} cannot be described to a model ({type(error).__name__}: {why}). Use types that JSON has."
        ) from error
