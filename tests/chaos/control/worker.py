"""`python -m tests.chaos.control.worker`: arq's own worker with one function and the settings of arq's own pages."""

import asyncio
import os
import time
from typing import Any

from arq import Retry, run_worker

from tests.chaos.agent import ModelError
from tests.chaos.control import records
from tests.chaos.control.agent import graph
from tests.chaos.control.connection import redis_settings

JOB_TIMEOUT_S = 20
"""As short as three model calls of 6 s and a tool allow: arq holds a killed worker's job for 10 s longer than this."""
MOST_WAIT_S = 5
DEADLINE = "deadline_exceeded"


async def run_agent_task(ctx: dict[str, Any], task_id: str, message: str, deadline_at: float | None) -> None:
    redis = ctx["redis"]
    await records.save(redis, task_id, "running")
    try:
        async with asyncio.timeout(None if deadline_at is None else max(0.0, deadline_at - time.time())):
            ended = await graph.ainvoke({"message": message})
        await records.save(redis, task_id, "success", result=ended["output"])
    except TimeoutError as error:
        await records.save(redis, task_id, "failed", error=str(error), error_code=DEADLINE)
    except ModelError as error:  # may pass: arq runs the job again, as its page on retries shows
        if ctx["job_try"] < WorkerSettings.max_tries:
            await records.save(redis, task_id, "pending")
            raise Retry(defer=min(ctx["job_try"], MOST_WAIT_S)) from error
        await records.save(redis, task_id, "failed", error=str(error))
    except Exception as error:  # noqa: BLE001  the line of every tutorial that this stands for
        await records.save(redis, task_id, "failed", error=str(error))


class WorkerSettings:
    """What is not named here is arq's default: jobs are polled for every 0.5 s, results are kept for an hour."""

    functions = (run_agent_task,)
    redis_settings = redis_settings()
    max_jobs = int(os.environ["SLOTS"])
    max_tries = int(os.environ["MAX_TRIES"])
    job_timeout = JOB_TIMEOUT_S
    job_completion_wait = int(os.environ["DRAIN_SECONDS"])
    retry_jobs = True


if __name__ == "__main__":
    run_worker(WorkerSettings)  # type: ignore[arg-type]  # arq's own example passes such a class
