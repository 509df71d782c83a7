"""How both processes reach Redis: with every retry that arq's `RedisSettings` offers."""

import os

from arq.connections import RedisSettings
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError


def redis_settings() -> RedisSettings:
    settings = RedisSettings.from_dsn(os.environ["REDIS_URL"])
    settings.conn_retries = 20  # of 1 s: a Redis that is away for a while at start ends no process
    settings.retry_on_timeout = True
    settings.retry_on_error = [RedisConnectionError, RedisTimeoutError]
    settings.retry = Retry(ExponentialBackoff(cap=1, base=0.05), retries=10)
    return settings
