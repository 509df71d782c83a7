"""What a run has got done, as bytes that only a worker reads, and what that cost: both are kept in one write."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .records import TokenUsage


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What an attempt has spent since it began, not since the last write: sent twice, it is charged once."""

    usage: TokenUsage
    cost_usd: float | None
    """None: the price of some of it is unknown."""
    answered_by: str | None = None
    simulated: bool = False
    partial: str | None = None

    def as_data(self) -> dict[str, Any]:
        """The script's argument. Money travels as whole billionths of a dollar: sums of floats would drift."""
        data = priced(self.usage, self.cost_usd)
        data["simulated"] = self.simulated
        for name in ("answered_by", "partial"):
            if getattr(self, name) is not None:
                data[name] = getattr(self, name)
        return data


@dataclass(frozen=True, slots=True)
class Progress:
    """One write to the task's `steps` hash. `number` counts the writes of an attempt from 1: the store takes each once,
    and none after a later one.
    """

    number: int
    fields: Mapping[str, bytes]
    dropped: Sequence[str]
    spent: Spent | None = None

    def as_data(self) -> dict[str, Any]:
        """The script's argument, but for the fields, which go beside it as bytes (`flat`)."""
        data: dict[str, Any] = {"number": self.number, "fields": len(self.fields), "dropped": list(self.dropped)}
        if self.spent is not None:
            data["spent"] = self.spent.as_data()
        return data

    def flat(self) -> Iterator[str | bytes]:
        for field, value in self.fields.items():
            yield field
            yield value

    @property
    def size(self) -> int:
        """Bytes of what it writes."""
        return sum(map(len, self.fields.values()))


def priced(usage: TokenUsage, cost_usd: float | None) -> dict[str, Any]:
    return {
        "usage": usage.as_dict(),
        "unpriced": int(cost_usd is None),
        "cost_nusd": round((cost_usd or 0) * 1e9),
    }
