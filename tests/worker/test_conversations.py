"""Conversations across a worker's death. tests/long/test_sessions.py has the long one."""

from pathlib import Path

from core_config import Settings
from taskstore.states import Status
from taskstore.store import TaskStore

from .conversations import converse


async def test_every_session_is_its_turns_in_order_once_each_across_a_kill(
    store: TaskStore, settings: Settings, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"lease_seconds": 3.0, "max_crashes": 20})
    store = TaskStore(store.redis, settings)
    told = await converse(store, settings, tmp_path, sessions=5, turns=8, kills=1)
    assert told.remembered == told.expected
    assert {record.status for record in told.records} == {Status.SUCCESS}
    assert sum(record.crashes for record in told.records) >= 1
    assert await store.audit() == []
