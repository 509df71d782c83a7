"""What the state machine does to sessions themselves: deletes them, and looks at what they remember."""

from collections.abc import Coroutine
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from taskstore.errors import SessionNotFound
from taskstore.store import TaskStore

from .ledger import Ledger

CALLERS = ("alice", "bob")
SESSIONS = (None, "s", "default", "r")


class SessionRules(RuleBasedStateMachine):
    store: TaskStore
    ledger: Ledger

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        raise NotImplementedError

    @rule(caller=st.sampled_from(CALLERS), session_id=st.sampled_from(SESSIONS[1:]), times=st.integers(1, 2))
    def forget_session(self, caller: str, session_id: str, times: int) -> None:
        known = self.ledger.memories.get((caller, session_id))
        for number in range(times):
            turns = self.run(self.store.sessions.forget(caller, session_id))
            assert turns == (known.turns if known is not None and number == 0 else None)
        self.ledger.memories.pop((caller, session_id), None)

    @rule(caller=st.sampled_from(CALLERS))
    def look_at_sessions(self, caller: str) -> None:
        """All that the caller is shown is what the ledger remembers."""
        page = self.run(self.store.sessions.list(caller, limit=9))
        mine = {name: memory for (whose, name), memory in self.ledger.memories.items() if whose == caller}
        assert {one.session_id: one.turns for one in page.sessions} == {name: one.turns for name, one in mine.items()}
        for session_id in SESSIONS[1:]:
            try:
                found = self.run(self.store.sessions.read(caller, session_id))
            except SessionNotFound:
                assert session_id not in mine
                continue
            said = [(turn.task_id, turn.message, turn.answer) for turn in found.turns]
            assert said == mine[session_id].said[-self.ledger.max_turns :]
            assert found.truncated == (len(said) < mine[session_id].turns)
