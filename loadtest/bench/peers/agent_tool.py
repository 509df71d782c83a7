"""The one tool that every agent here may call, and an agent that does nothing. It imports nothing: Longhaul's workers
load a copy of it beside their agents file.
"""

from typing import Any


async def calculator(expression: str) -> str:
    """Compute an arithmetic expression, such as 1 + 2."""
    left, _, right = expression.split()
    return str(int(left) + int(right))


async def nothing(given: str, ctx: Any) -> str:  # noqa: ARG001  the signature of an agent that is a function
    return "Done."
