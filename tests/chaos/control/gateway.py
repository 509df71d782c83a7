"""`python -m tests.chaos.control.gateway`: takes a message, enqueues a job, answers what the job's record says."""

import os
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import uvicorn
from arq import create_pool
from arq.connections import ArqRedis
from arq.constants import default_queue_name, health_check_key_suffix
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from pydantic import BaseModel

from tests.chaos.control import records
from tests.chaos.control.connection import redis_settings


class Body(BaseModel):
    """Other fields are ignored, as pydantic does unless it is told otherwise."""

    message: str
    deadline_s: float | None = None


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.redis = await create_pool(redis_settings())
    yield
    await app.state.redis.aclose()


def pool(request: Request) -> ArqRedis:
    redis: ArqRedis = request.app.state.redis
    return redis


app = FastAPI(lifespan=lifespan)
Pool = Annotated[ArqRedis, Depends(pool)]


@app.post("/task")
async def submit(body: Body, redis: Pool, idempotency_key: Annotated[str | None, Header()] = None) -> dict[str, Any]:
    task_id = uuid.uuid4().hex if idempotency_key is None else uuid.uuid5(uuid.NAMESPACE_URL, idempotency_key).hex
    # first the record: the job could else have begun before there is one
    await records.create(redis, task_id)
    deadline_at = None if body.deadline_s is None else time.time() + body.deadline_s
    await redis.enqueue_job("run_agent_task", task_id, body.message, deadline_at, _job_id=task_id)
    return {"task_id": task_id, "status": "pending"}


@app.get("/task/{task_id}")
async def read(task_id: str, redis: Pool) -> dict[str, Any]:
    record = await records.read(redis, task_id)
    if record is None:
        raise HTTPException(404, "there is no such task")
    return record


@app.get("/health")
async def health(redis: Pool) -> dict[str, str]:
    """200 when a worker has begun: it writes this key of arq's when it does."""
    if not await redis.exists(default_queue_name + health_check_key_suffix):
        raise HTTPException(503, "no worker")
    return {"status": "healthy"}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["GATEWAY_PORT"]), log_level="warning")
