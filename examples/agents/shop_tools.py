"""Two tools: a typed function with a docstring each. An application would ask its own database here."""

from typing import Annotated, Literal

from langchain_core.tools import ToolException

ORDERS = {"T1001": "sent on 2026-11-19 with 2 x Sencha", "T1002": "being packed: 1 x Darjeeling, 1 x teapot"}
DAYS = {"home": 2, "abroad": 9}


async def order_status(number: Annotated[str, "The order's number, such as T1001."]) -> str:
    """Tell where an order is and what is in it."""
    if number not in ORDERS:
        raise ToolException(f"There is no order {number!r}. Numbers look like T1001; ask the customer for theirs.")
    return f"{number} is {ORDERS[number]}."


def delivery_days(to: Literal["home", "abroad"]) -> int:
    """Tell how many working days a parcel takes."""
    return DAYS[to]
