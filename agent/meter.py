"""What a run has spent so far. Written at the edge of every model and tool call, readable at any moment."""

from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one call or the sum of many. `cached` are part of `prompt`, `reasoning` of `completion`."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        return TokenUsage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.total_tokens + other.total_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


@dataclass(slots=True)
class Meter:
    """One run's meter. It stays right after a failure or a cancel: nothing is added at the end."""

    usage: TokenUsage = field(default_factory=TokenUsage)
    cost_usd: float | None = 0.0
    """USD; None as soon as one answer's cost is unknown. 0.0 is a true zero."""
    partial: str = ""
    """The last text that the model has answered with so far."""
    model_calls: int = 0
    """Calls begun, answered or not."""
    answers: int = 0
    """Calls that the model has answered."""
    tool_calls: int = 0
    model: str | None = None
    """Registry key of the model that answered last; None until one has."""
    simulated: bool = False
    """Whether an answer came from a simulated model."""

    def answered(self, *, model: str, simulated: bool, usage: TokenUsage, cost_usd: float | None, text: str) -> None:
        """Adds one answer of a model."""
        self.answers += 1
        self.model = model
        self.simulated = self.simulated or simulated
        self.usage += usage
        self.cost_usd = None if self.cost_usd is None or cost_usd is None else self.cost_usd + cost_usd
        if text:
            self.partial = text
