"""What a run is asked to do, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from agent.durable import Durable
from agent.run_context import TokenListener


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One earlier message of the conversation."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentWork:
    """One attempt's input. `model` is a key of the registry, `agent` a name in the agents file."""

    task_id: str
    message: str
    """Empty when `input` is given."""
    model: str
    agent: str = "default"
    user_id: str | None = None
    session_id: str | None = None
    history: tuple[Turn, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    input: Mapping[str, Any] | None = None
    """The task's JSON object, in the place of a message."""
    avoid: tuple[str, ...] = ()
    """Models that cool down: passed over in this run, as long as another of the chain is left."""
    output_schema: Mapping[str, Any] | None = None
    """JSON Schema that the answer's `data` must satisfy."""
    durable: Durable | None = field(default=None, compare=False)
    """Where the run's steps are kept, and what earlier attempts got done. None keeps nothing."""
    on_token: TokenListener | None = field(default=None, compare=False)
    """Who reads the models' words as they come. None: nobody, and the models are not streamed, which costs less."""
    seconds_left: float | None = None
    """Time that the attempt has. None: as long as it takes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a run ends with."""

    text: str
    data: Any = None
    """The same as a JSON value, of a task with an `output_schema` and of an agent that answers with data."""
