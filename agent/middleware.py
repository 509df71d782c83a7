"""What stands between an agent and its model: LangChain's middleware by short names, and factories of one's own."""

import inspect
from collections.abc import Callable
from typing import Any, Final

from langchain.agents.middleware import (
    AgentMiddleware,
    ClearToolUsesEdit,
    ContextEditingMiddleware,
    ModelCallLimitMiddleware,
    PIIMiddleware,
    SummarizationMiddleware,
    TodoListMiddleware,
    ToolCallLimitMiddleware,
)
from langchain_core.language_models import BaseChatModel

from agent.errors import UnavailableError
from agent.imports import imported
from agents_config import MiddlewareConfig

Middleware = AgentMiddleware[Any, Any, Any]


def _context_editing(_: BaseChatModel, **options: Any) -> Middleware:
    return ContextEditingMiddleware(edits=[ClearToolUsesEdit(**options)])


def _summarization(model: BaseChatModel, **options: Any) -> Middleware:
    # trigger = ["tokens", 4000]: TOML has no tuples
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    return SummarizationMiddleware(model, **given)


_SHIPPED: Final[dict[str, Callable[..., Middleware]]] = {
    "context_editing": _context_editing,
    "model_call_limit": lambda _, **options: ModelCallLimitMiddleware(**options),
    "pii": lambda _, **options: PIIMiddleware(**options),
    "summarization": _summarization,
    "todo_list": lambda _, **options: TodoListMiddleware(**options),
    "tool_call_limit": lambda _, **options: ToolCallLimitMiddleware(**options),
}
"""By the names of agents_config.MIDDLEWARE."""


def middleware_of(config: MiddlewareConfig, model: BaseChatModel, where: str) -> Middleware:
    """One for an agent on `model`, shared by all its runs. Raises UnavailableError."""
    make: Any = _SHIPPED.get(config.use) or imported(config.use, where)
    if isinstance(make, AgentMiddleware):
        return make
    if not callable(make):
        raise UnavailableError(
            f"{where}: {config.use} is a {type(make).__name__}. Name a function that returns middleware, or its class."
        )
    try:
        if config.use in _SHIPPED:
            made = make(model, **config.options)
        elif "model" in inspect.signature(make).parameters:
            made = make(model=model, **config.options)
        else:
            made = make(**config.options)
    except Exception as error:
        why = f"{type(error).__name__}: {str(error)[:200]}"
        raise UnavailableError(f"{where}: {config.use} cannot be made ({why}). Correct its options.") from error
    if not isinstance(made, AgentMiddleware):
        raise UnavailableError(f"{where}: {config.use} returned a {type(made).__name__} and no LangChain middleware.")
    return made
