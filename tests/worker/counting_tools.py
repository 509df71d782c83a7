"""Tools of an agent that count their own calls, in a file: what they say of themselves nobody else wrote."""

import time
from pathlib import Path
from typing import Annotated, Any

from langchain_core.tools import StructuredTool, tool

Where = Annotated[str, "A file."]


@tool("add_line")
def add_line(file: Where, line: Annotated[str, "What to add."]) -> str:
    """Adds a line to a file."""
    with Path(file).open("a") as out:
        out.write(f"{line}\n")
    return f"added {line}"


@tool("add_line_and_hold")
def add_line_and_hold(file: Where, line: Annotated[str, "What to add."]) -> str:
    """Adds a line to a file, and ends when there is a file of that name and `.go`."""
    add_line.func(file, line)  # type: ignore[attr-defined]  # @tool's declared type is the widest it makes
    while not Path(f"{file}.go").exists():
        time.sleep(0.01)
    return f"added {line}"


def _once(made: Any) -> StructuredTool:
    """The same as a tool that may not run twice."""
    return StructuredTool.from_function(
        made.func, name=f"{made.name}_once", description=made.description, metadata={"idempotent": False}
    )


add_line_once = _once(add_line)
add_line_and_hold_once = _once(add_line_and_hold)


async def agent(given: dict[str, str], ctx: Any) -> str:
    """An agent that is code: a model call, the same call of a tool twice, and one that holds."""
    await ctx.model(given["message"])
    calls = [("add_line_once", "twice"), ("add_line_once", "twice"), ("add_line_and_hold", "any")]
    return " ".join([await ctx.tools[name].ainvoke({"file": given["file"], "line": line}) for name, line in calls])
