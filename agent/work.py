"""What a run is asked to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One earlier message of the conversation."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentWork:
    """One attempt's input. `model` is a key of the registry, `agent` a key of agent.specs.AGENTS."""

    task_id: str
    message: str
    model: str
    agent: str = "default"
    user_id: str | None = None
    session_id: str | None = None
    history: tuple[Turn, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
