"""A plain function: no framework, only what `ctx` offers. It sums a text up part by part, as far as time allows."""

from typing import Any

from agent.context import AgentContext, RefusedError

PART_CHARS = 4000
ENOUGH_SECONDS = 15
"""Of its time, so much is kept for the last call."""


async def summarise(given: str | dict[str, Any], ctx: AgentContext) -> dict[str, Any]:
    """`given` is the task's message, or its input object: {"text": ..., "sentences": 3}."""
    task = {"text": given} if isinstance(given, str) else given
    text, sentences = task.get("text"), task.get("sentences", 3)
    if not isinstance(text, str) or not isinstance(sentences, int):
        raise RefusedError("The input has to be {'text': '...', 'sentences': 3}.")
    parts = [text[start : start + PART_CHARS] for start in range(0, len(text), PART_CHARS)]
    ctx.emit("split", {"characters": len(text), "parts": len(parts)})
    points: list[str] = []
    for number, part in enumerate(parts, 1):
        if ctx.seconds_left < ENOUGH_SECONDS:
            break
        with ctx.step(f"part {number} of {len(parts)}") as step:
            step.result = await ctx.model(part, system="Note the main points of this part of a text, one a line.")
            points.append(step.result)
    if not points:
        raise RefusedError("There was no time to read any of the text.")
    summary = await ctx.model("\n".join(points), system=f"Sum these points up in {sentences} sentences.")
    return {"summary": summary, "parts": len(parts), "read": len(points)}
