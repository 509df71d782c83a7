"""Fifty sessions of twenty turns, submitted all at once over three workers with kills in between."""

from pathlib import Path

from core_config import Settings
from taskstore.states import Status
from taskstore.store import TaskStore
from tests.worker.conversations import converse

from .report import Report

SESSIONS, TURNS, KILLS = 50, 20, 6


async def test_every_sessions_history_is_its_turns_in_order_once_each(
    store: TaskStore, settings: Settings, tmp_path: Path, report: Report
) -> None:
    settings = settings.model_copy(update={"lease_seconds": 2.0, "worker_concurrency": 10, "max_crashes": 100})
    store = TaskStore(store.redis, settings)
    told = await converse(store, settings, tmp_path, sessions=SESSIONS, turns=TURNS, kills=KILLS)
    right = sum(found == said for found, said in zip(told.remembered, told.expected, strict=True))
    title = f"{SESSIONS} sessions of {TURNS} turns over three workers, {KILLS} x kill -9 at work: right histories"
    report(title, str(SESSIONS), f"{right} in {told.seconds:.0f} s", met=right == SESSIONS)
    assert told.remembered == told.expected
    assert {record.status for record in told.records} == {Status.SUCCESS}
    assert sum(record.crashes for record in told.records) >= KILLS
    assert await store.audit() == []
