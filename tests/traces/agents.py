"""An agent that is a plain function, and tells of its steps."""

from typing import Any

SECRET = "canary.planted.5e1f7a"


async def stepping(given: str, ctx: Any) -> str:
    """A step with a model call in it, one with a call of a tool, and one that fails if it is told to."""
    with ctx.step("read", arguments={"given": given}) as step:
        step.result = await ctx.model(f"Hello {given}")
    with ctx.step("compute"):
        answer = await ctx.tools["calculator"].ainvoke({"expression": "6 * 7"})
    ctx.emit("noted", f"note {answer}")
    if "fail" in given:
        with ctx.step("broken"):
            raise RuntimeError(f"no access with {SECRET}")
    return str(answer)
