"""What a test sees of a task: of one that ran through the queue, and of one whose agent ran alone."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call of a model or a tool. Durations are milliseconds."""

    kind: Literal["model", "tool"]
    name: str
    """The model's registry key, or the tool's name."""
    state: str
    """`done`, `failed`, `running` or `unfinished`."""
    arguments: Any
    """A tool's arguments; None for a model."""
    result: str | None
    error: str | None
    duration_ms: int | None

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        return cls(
            kind=data["kind"],
            name=data["name"],
            state=data["state"],
            arguments=_parsed(data["arguments"]),
            result=data["result"],
            error=data["error"],
            duration_ms=data["duration_ms"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task that has ended."""

    status: str
    """`success`, `failed` or `cancelled`."""
    result: str | None
    error: str | None
    error_code: str | None
    """From docs/error-codes.md."""
    steps: tuple[Step, ...]
    model_calls: int
    """Calls of a model among the steps."""
    data: Mapping[str, Any]
    """All that `GET /task/{id}` answers; of an agent that ran alone, what there is of it without a queue."""

    @property
    def tools(self) -> list[str]:
        """Names of the tools that were called, in order."""
        return [step.name for step in self.steps if step.kind == "tool"]

    def tool(self, name: str) -> Step:
        """The one call of this tool. AssertionError when there were none or several."""
        calls = [step for step in self.steps if step.kind == "tool" and step.name == name]
        if len(calls) != 1:
            raise AssertionError(f"{name} was called {len(calls)} times; the tools called were {self.tools}")
        return calls[0]

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        steps = tuple(Step.of(step) for step in data["steps"])
        return cls(
            status=data["status"],
            result=data["result"],
            error=data["error"],
            error_code=data["error_code"],
            steps=steps,
            model_calls=sum(step.kind == "model" for step in steps),
            data=data,
        )


def _parsed(arguments: str | None) -> Any:
    """What the model asked for; the text itself when it was cut for being long, or was no JSON."""
    if arguments is None:
        return None
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments
