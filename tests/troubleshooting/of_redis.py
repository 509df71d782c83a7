"""What is said when Redis has no room, or is not yet there. Each test has a Redis of its own for it."""

import shutil

from tests.conftest import free_port
from tests.gateway.conftest import StartGateway
from tests.stumbles.redis_process import SLOWLY, StumblingRedis, until

from .conftest import Command
from .over_http import get, post, said
from .provoke import provokes


@provokes("storage-full")
def no_memory_left(start_gateway: StartGateway, stumbling_redis: StumblingRedis) -> str:
    url = start_gateway(redis_url=stumbling_redis.url).url
    with stumbling_redis.full_memory():
        return said(post(url))


@provokes("redis-disk")
def no_disk_left(command: Command, stumbling_redis: StumblingRedis) -> str:
    """As little can be written as on a full disk: the folder is gone."""
    client = stumbling_redis.client
    client.config_set("save", "3600 1")
    shutil.rmtree(stumbling_redis.folder)
    client.bgsave()
    until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "Redis notices")  # type: ignore[index]  # redis-py's types are of both clients
    return command("start", REDIS_URL=stumbling_redis.url)


def loading(redis: StumblingRedis) -> None:
    redis.write_much()
    redis.kill()
    redis.launch(*SLOWLY)
    until(redis.is_loading, "it loads")


@provokes("store-loading")
def a_call_while_redis_loads(start_gateway: StartGateway, stumbling_redis: StumblingRedis) -> str:
    url = start_gateway(redis_url=stumbling_redis.url).url
    loading(stumbling_redis)
    return said(post(url))


@provokes("ready-loading")
def not_ready_while_redis_loads(start_gateway: StartGateway, stumbling_redis: StumblingRedis) -> str:
    url = start_gateway(redis_url=stumbling_redis.url).url
    loading(stumbling_redis)
    return said(get(url, "/ready"))


@provokes("ready-replica")
def not_ready_on_a_replica(start_gateway: StartGateway, stumbling_redis: StumblingRedis) -> str:
    stumbling_redis.client.replicaof("127.0.0.1", str(free_port()))
    return said(get(start_gateway(redis_url=stumbling_redis.url).url, "/ready"))


@provokes("worker-evicts")
def a_worker_on_a_redis_that_evicts(stumbling_redis: StumblingRedis, by_hand: Command) -> str:
    stumbling_redis.client.config_set("maxmemory-policy", "volatile-ttl")
    return by_hand("worker", REDIS_URL=stumbling_redis.url)
