"""What all lines of a request or of an attempt have, also those of libraries: bound once, in context variables.

They follow every asyncio task and tool thread that the request or attempt begins, and end with it: each request and
each attempt runs in an asyncio task of its own.
"""

from typing import Any

from .light_structlog import structlog

NAMES = ("task", "attempt", "session", "caller", "agent", "model", "trace", "request_id")
"""In the order of a line. Code of an agent's own may bind others, with structlog or with `bind`."""


def begin(**fields: Any) -> None:
    """Binds these and nothing else: a request or an attempt begins, whatever the task that begins it had bound."""
    structlog.contextvars.clear_contextvars()
    bind(**fields)


def bind(**fields: Any) -> None:
    """Adds the fields to every line from here on, in this asyncio task and what it begins; not those that are None."""
    structlog.contextvars.bind_contextvars(**{name: value for name, value in fields.items() if value is not None})
