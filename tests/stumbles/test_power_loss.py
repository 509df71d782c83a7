"""What a power cut loses with each way of syncing, by the model of power.py. tests/long counts it more exactly."""

from core_config import Settings
from taskstore.connection import connect
from taskstore.store import TaskStore

from .conftest import Stumbling
from .power import cut


async def test_synced_at_every_write_nothing_that_was_acknowledged_is_lost(stumbling: Stumbling) -> None:
    loss = cut(stumbling, "always", accepted=100, seconds=0.5)
    assert loss.accepted >= 50
    assert (loss.lost, loss.ran_again) == (0, 0)
    async with connect(stumbling.redis.url) as client:
        assert await TaskStore(client, Settings(redis_url=stumbling.redis.url)).audit() == []


async def test_synced_every_second_the_last_one_is_lost_and_no_more(stumbling: Stumbling) -> None:
    """The control of the test above; and what is left keeps every rule of the store."""
    loss = cut(stumbling, "everysec", accepted=50, seconds=1.5)
    assert 0 < loss.lost < loss.accepted
    async with connect(stumbling.redis.url) as client:
        assert await TaskStore(client, Settings(redis_url=stumbling.redis.url)).audit() == []
