"""Which calls are kept, and under which name: the same in every attempt, and no other call's."""

from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import StructuredTool

from agent.errors import AgentError
from agent.run_context import CURRENT_RUN, Run
from agent.tool_edge import edged, may_not_run_twice


class Kept:
    """A ledger that outlives the attempts."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Any] = {}
        self.open: set[str] = set()

    def outcome(self, call: str) -> Any | None:
        return self.outcomes.get(call)

    def begun(self, call: str) -> bool:
        return call in self.open

    async def begin(self, call: str) -> None:
        self.open.add(call)

    async def finish(self, call: str, outcome: Any) -> None:
        self.open.discard(call)
        self.outcomes[call] = outcome


class Attempt:
    def __init__(self, ledger: Kept | None, **metadata: Any) -> None:
        self.made: list[str] = []

        async def pay(whom: str) -> str:
            """Pays."""
            self.made.append(whom)
            return f"paid {whom} {len(self.made)}"

        tool = StructuredTool.from_function(coroutine=pay, metadata=metadata or None)
        self.tool = edged(tool, seconds=5, threads=None)  # type: ignore[arg-type]  # it is asynchronous
        self.run = Run(ledger=ledger)

    async def call(self, given: Any, step: str = "") -> Any:
        token = CURRENT_RUN.set(self.run)
        try:
            return await self.tool.ainvoke(given, {"configurable": {"checkpoint_ns": step}})
        finally:
            CURRENT_RUN.reset(token)


def asked(whom: str, call_id: str = "call_0") -> dict[str, Any]:
    return {"type": "tool_call", "id": call_id, "name": "pay", "args": {"whom": whom}}


async def test_a_call_is_told_by_its_step_its_id_and_what_it_calls() -> None:
    ledger = Kept()
    first = Attempt(ledger)
    for given, step in (
        (asked("a"), "tools:1"),
        (asked("a", "call_1"), "tools:1"),
        (asked("b"), "tools:1"),
        (asked("a"), "tools:2"),
    ):
        assert isinstance(await first.call(given, step), ToolMessage)
    assert first.made == ["a", "a", "b", "a"]
    second = Attempt(ledger)
    assert (await second.call(asked("a"), "tools:2")).content == "paid a 4"
    assert (await second.call(asked("a"), "tools:3")).content == "paid a 1"
    assert second.made == ["a"]


@pytest.mark.parametrize("call_id", ["\ud800", "x" * 5000, ""])
async def test_any_id_that_a_model_gives_is_a_name(call_id: str) -> None:
    ledger = Kept()
    await Attempt(ledger).call(asked("a", call_id), "tools:1")
    (name,) = ledger.outcomes
    assert len(name.encode()) < 50


async def test_without_a_ledger_nothing_is_kept_and_everything_is_called() -> None:
    attempt = Attempt(None, idempotent=False)
    assert await attempt.call({"whom": "a"}) == "paid a 1"
    assert (await attempt.call(asked("a"), "tools:1")).content == "paid a 2"


async def test_code_that_begins_again_finds_its_calls_by_their_turn() -> None:
    ledger = Kept()
    first = Attempt(ledger, idempotent=False)
    assert [await first.call({"whom": "a"}) for _ in range(2)] == ["paid a 1", "paid a 2"]
    second = Attempt(ledger, idempotent=False)
    assert [await second.call({"whom": "a"}) for _ in range(3)] == ["paid a 1", "paid a 2", "paid a 1"]
    repeatable = Attempt(ledger)
    assert [await repeatable.call({"whom": "b"}) for _ in range(2)] == ["paid b 1", "paid b 2"]
    assert len(ledger.outcomes) == 3


async def test_a_call_that_began_and_did_not_end_is_not_made_again() -> None:
    ledger = Kept()
    ledger_before = Attempt(ledger, idempotent=False)
    await ledger_before.call({"whom": "a"})
    (name,) = ledger.outcomes
    ledger.open.add(name)
    del ledger.outcomes[name]
    second = Attempt(ledger, idempotent=False)
    with pytest.raises(AgentError, match=r"tool_outcome_unknown.*\(tool pay\)"):
        await second.call({"whom": "a"})
    assert second.made == []


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, False), ({"idempotent": True}, False), ({"idempotent": False}, True), ({"idempotentHint": False}, True),
        ({"idempotentHint": None}, False), ({"idempotentHint": False, "readOnlyHint": True}, False),
        ({"idempotentHint": False, "idempotent": True}, False), ({"readOnlyHint": False}, False),
    ],
)  # fmt: skip
def test_what_a_tool_says_of_itself(said: dict[str, Any], expected: bool) -> None:
    assert may_not_run_twice(Attempt(None, **said).tool) is expected
