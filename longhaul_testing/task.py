"""What a test sees of a task: of one that ran through the queue, and of one whose agent ran alone."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call of a model or a tool, or a step of the agent's own. Durations are milliseconds."""

    kind: Literal["model", "tool", "step"]
    """`step`: one of the agent's own."""
    name: str
    """The model's registry key, the tool's name, or the step's own."""
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
    cause: BaseException | None = None
    """What the agent's own code raised. None of a task that ran through the queue: it is in the worker's log."""
    data: Mapping[str, Any]
    """All that `GET /task/{id}` answers; of an agent that ran alone, what there is of it without a queue."""

    @property
    def result_json(self) -> Any:
        """The answer of an agent that answers with data, and of a task with an output_schema; else None."""
        return self.data.get("result_json")

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
    def of(cls, data: Mapping[str, Any], cause: BaseException | None = None) -> Self:
        return cls(
            status=data["status"],
            result=data["result"],
            error=data["error"],
            error_code=data["error_code"],
            steps=tuple(Step.of(step) for step in data["steps"]),
            data=data,
            cause=cause,
        )


def _parsed(arguments: str | None) -> Any:
    """What the model asked for; the text itself when it was cut for being long, or was no JSON."""
    if arguments is None:
        return None
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments
