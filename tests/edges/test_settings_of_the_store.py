"""What each of the store's settings changes: the same work under two values ends differently."""

import pytest

from core_config import Settings
from taskstore.claims import Claim, QuarantinePart, Settlement
from taskstore.keys import Keys
from taskstore.records import NewTask, TokenUsage, WorkerInfo
from taskstore.states import Status
from taskstore.store import TaskStore

NET_MS = 60_000
NEAR_MS = 5_000
DAY_MS = 86_400_000


class Bench:
    """A store with some settings changed, and a worker who takes one task at a time."""

    def __init__(self, store: TaskStore, settings: Settings, **changes: float) -> None:
        self.store = TaskStore(store.redis, settings.model_copy(update=changes))
        self.keys: Keys = self.store.keys
        self.claims = 0

    async def begin(self, session_id: str | None = None) -> Claim:
        await self.store.submit(NewTask(task_id="t1", caller="a", message="m", model="M", session_id=session_id))
        return await self.take()

    async def take(self, quarantine: QuarantinePart = "leave") -> Claim:
        self.claims += 1
        claimed = await self.store.claim("w1", self.claims, room=1, extra=0, models={"M": None}, quarantine=quarantine)
        (claim,) = claimed.tasks
        return claim

    async def settle(self, claim: Claim, kind: str, **outcome: object) -> Status:
        settlement = Settlement(task_id=claim.task_id, fence=claim.fence, kind=kind, **outcome)  # type: ignore[arg-type]  # a test's own words
        assert await self.store.settle([settlement]) == ["ok"]
        return (await self.store.get(claim.task_id)).status

    async def left_ms(self, key: str) -> int:
        return int(await self.store.redis.pttl(key))

    async def clock(self) -> int:
        seconds, micros = await self.store.redis.time()
        return int(seconds) * 1000 + int(micros) // 1000


@pytest.mark.parametrize("seconds", [30, 90])
async def test_a_finished_task_is_kept_as_long_as_the_setting_says(
    seconds: int, store: TaskStore, settings: Settings
) -> None:
    bench = Bench(store, settings, result_ttl_seconds=seconds)
    await bench.settle(await bench.begin(), "success", result="r")
    kept = pytest.approx(seconds * 1000 + NET_MS, abs=NEAR_MS)
    assert await bench.left_ms(bench.keys.task("t1")) == kept
    assert await bench.left_ms(bench.keys.events("t1")) == kept


@pytest.mark.parametrize("seconds", [30, 90])
async def test_a_dead_letter_is_kept_as_long_as_the_setting_says(
    seconds: int, store: TaskStore, settings: Settings
) -> None:
    bench = Bench(store, settings, dead_ttl_seconds=seconds)
    await bench.settle(await bench.begin(), "bury", error_code="internal")
    assert await bench.left_ms(bench.keys.task("t1")) == pytest.approx(seconds * 1000 + NET_MS, abs=NEAR_MS)


@pytest.mark.parametrize("seconds", [30, 90])
async def test_a_session_lives_as_long_as_the_setting_says(seconds: int, store: TaskStore, settings: Settings) -> None:
    bench = Bench(store, settings, session_ttl_seconds=seconds)
    await bench.settle(await bench.begin(session_id="s"), "success", result="r")
    session = NewTask(task_id="", caller="a", message="", model="M", session_id="s").session
    for key in (bench.keys.session("a", session), bench.keys.session_log("a", session)):
        assert await bench.left_ms(key) == pytest.approx(seconds * 1000, abs=NEAR_MS)


@pytest.mark.parametrize("turns", [1, 3])
async def test_a_session_remembers_as_many_turns_as_the_setting_says(
    turns: int, store: TaskStore, settings: Settings
) -> None:
    bench = Bench(store, settings, session_max_turns=turns)
    for number in range(5):
        new = NewTask(task_id=f"t{number}", caller="a", message="m", model="M", session_id="s")
        await bench.store.submit(new)
        await bench.settle(await bench.take(), "success", result="r")
    assert len((await bench.store.sessions.read("a", "s")).turns) == turns


@pytest.mark.parametrize("days", [1, 3])
async def test_the_bill_is_kept_for_as_many_days_as_the_setting_says(
    days: int, store: TaskStore, settings: Settings
) -> None:
    bench = Bench(store, settings, usage_ttl_days=days)
    await bench.settle(await bench.begin(), "success", usage=TokenUsage(1, 1, 2), cost_usd=0.1)
    now = await bench.clock()
    today = now // DAY_MS
    ends = {day: await bench.left_ms(bench.keys.usage(day)) for day in (today - 1, today)}  # midnight may have passed
    (day,) = [day for day, left_ms in ends.items() if left_ms >= 0]
    assert now + ends[day] == pytest.approx((day + 1 + days) * DAY_MS, abs=NEAR_MS)


@pytest.mark.parametrize("seconds", [10, 40])
async def test_a_lease_lasts_as_long_as_the_setting_says(seconds: int, store: TaskStore, settings: Settings) -> None:
    bench = Bench(store, settings, lease_seconds=seconds)
    claim = await bench.begin()
    for _ in range(2):
        until = await store.redis.zscore(bench.keys.leases("M:b"), "t1")
        assert until is not None
        assert until - await bench.clock() == pytest.approx(seconds * 1000, abs=NEAR_MS)
        await bench.store.renew(WorkerInfo("w1", "h", 1, "1", 1, 0), [(claim.task_id, claim.fence)])


@pytest.mark.parametrize("retries", [0, 2])
async def test_a_task_is_retried_as_often_as_the_setting_says(
    retries: int, store: TaskStore, settings: Settings
) -> None:
    bench = Bench(store, settings, max_retries=retries)
    claim = await bench.begin()
    for _ in range(retries):
        assert await bench.settle(claim, "retry", error_code="internal") is Status.RETRYING
        claim = await bench.take()
    assert await bench.settle(claim, "retry", error_code="internal") is Status.FAILED


@pytest.mark.parametrize("crashes", [1, 2, 3])
async def test_a_task_may_take_down_as_many_workers_as_the_setting_says(
    crashes: int, store: TaskStore, settings: Settings
) -> None:
    bench = Bench(store, settings, max_crashes=crashes)
    await bench.begin()
    for lost in range(1, crashes):
        await bench.store.sweep("w1")
        assert (await bench.store.get("t1")).status is Status.RETRYING
        await bench.take("only" if lost == crashes - 1 else "leave")  # the last run is alone
    await bench.store.sweep("w1")
    record = await bench.store.get("t1")
    assert (record.status, record.error_code) == (Status.FAILED, "worker_lost")
