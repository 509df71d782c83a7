"""A typed function of somebody's own as a tool: its name, annotations and docstring are what the model sees."""

import inspect
from collections.abc import Callable
from typing import Any

from langchain_core.tools import BaseTool, StructuredTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from agent.errors import UnavailableError
from agent.imports import place_of


def as_tool(found: Any, path: str, where: str) -> StructuredTool:
    """The tool of what `path` names. Raises UnavailableError when a model could not know how to call it."""
    if isinstance(found, StructuredTool):
        return _described(lambda: found, f"{where}: {path}")
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
    if inspect.iscoroutinefunction(found):
        return _described(lambda: StructuredTool.from_function(coroutine=found), about)
    return _described(lambda: StructuredTool.from_function(func=found), about)


def _described(make: Callable[[], StructuredTool], about: str) -> StructuredTool:
    """The tool, which a model call can describe."""
    try:
        tool = make()
        convert_to_openai_tool(tool)
        return tool
    except Exception as error:
        raise UnavailableError(
            f"{about} cannot be described to a model ({type(error).__name__}). Use types that JSON has."
        ) from error
