"""What the gateway answers when a call cannot be served. No worker runs unless the message is about one."""

import asyncio
import hashlib
import time
from typing import Any

import httpx

from core_config import Settings
from longhaul_testing.ports import free_port
from taskstore.connection import connect
from taskstore.records import WorkerInfo
from taskstore.store import TaskStore
from tests.gateway.conftest import StartGateway

from .conftest import Command
from .provoke import provokes

KEY = "ak_alice_1"
API_KEYS = f"alice:{hashlib.sha256(KEY.encode()).hexdigest()}"


def said(answer: httpx.Response) -> str:
    return f"{answer.status_code} {answer.text}"


def post(url: str, path: str = "/task", headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    return httpx.post(f"{url}{path}", json={"message": "hello", **body}, headers=headers, trust_env=False, timeout=30)


def get(url: str, path: str) -> httpx.Response:
    return httpx.get(f"{url}{path}", trust_env=False, timeout=30)


@provokes("unauthorized")
def no_key(start_gateway: StartGateway) -> str:
    return said(post(start_gateway(api_keys=API_KEYS, active_model_key="Simulator").url))


@provokes("command-wants-key")
def a_command_without_key(start_gateway: StartGateway, command: Command) -> str:
    gateway = start_gateway(api_keys=API_KEYS, active_model_key="Simulator")
    return command("ask", "hello", "--url", gateway.url)


@provokes("forbidden-host")
def another_host_name(start_gateway: StartGateway) -> str:
    return said(post(start_gateway().url, headers={"host": "longhaul.example.org"}))


@provokes("unknown-field")
def a_misspelt_field(start_gateway: StartGateway) -> str:
    return said(post(start_gateway().url, sesion_id="s"))


@provokes("unknown-model")
def a_model_that_is_none(start_gateway: StartGateway) -> str:
    return said(post(start_gateway().url, model="gpt"))


@provokes("unknown-agent")
def an_agent_that_is_none(start_gateway: StartGateway) -> str:
    return said(post(start_gateway().url, agent="suport"))


@provokes("unsupported-media-type")
def no_content_type(start_gateway: StartGateway) -> str:
    content = b'{"message": "hello"}'
    return said(httpx.post(f"{start_gateway().url}/task", content=content, trust_env=False, timeout=30))


@provokes("body-too-large")
def a_large_body(start_gateway: StartGateway) -> str:
    return said(post(start_gateway(max_body_bytes=2000).url, message="m" * 3000))


@provokes("idempotency-conflict")
def a_key_used_twice(start_gateway: StartGateway) -> str:
    url, headers = start_gateway().url, {"idempotency-key": "order-17"}
    post(url, headers=headers).raise_for_status()
    return said(post(url, headers=headers, message="another"))


@provokes("queue-full")
def a_full_queue(start_gateway: StartGateway) -> str:
    url = start_gateway(queue_max_depth=1).url
    post(url).raise_for_status()
    return said(post(url))


@provokes("store-unavailable")
def no_redis(start_gateway: StartGateway) -> str:
    return said(post(start_gateway(redis_url=f"redis://127.0.0.1:{free_port()}/0").url))


@provokes("ready-no-redis")
def not_ready_for_want_of_redis(start_gateway: StartGateway) -> str:
    return said(get(start_gateway(redis_url=f"redis://127.0.0.1:{free_port()}/0").url, "/ready"))


@provokes("ready-no-worker")
def not_ready_for_want_of_workers(start_gateway: StartGateway) -> str:
    return said(get(start_gateway().url, "/ready"))


@provokes("ready-full")
def ready_for_readers_only(start_gateway: StartGateway, settings: Settings) -> str:
    async def be_a_worker() -> None:
        async with connect(settings.redis_address) as client:
            await TaskStore(client, settings).renew(WorkerInfo("w1", "host", 1, "1", 1, 0), [])

    url = start_gateway(queue_max_depth=1).url
    post(url).raise_for_status()
    asyncio.run(be_a_worker())
    return said(get(url, "/ready"))


@provokes("stuck-pending")
def a_task_that_nobody_takes(start_gateway: StartGateway) -> str:
    url = start_gateway().url
    return said(get(url, f"/task/{post(url).json()['task_id']}"))


@provokes("chat-timeout")
def a_chat_that_takes_too_long(start_gateway: StartGateway) -> str:
    return said(post(start_gateway(chat_timeout_seconds=0.1).url, "/chat"))


@provokes("task-not-found")
def a_result_whose_time_is_over(start_gateway: StartGateway, settings: Settings) -> str:
    """The sweep, which forgets it, is a worker's: here the test's."""
    url = start_gateway(result_ttl_seconds=1).url
    task_id = post(url).json()["task_id"]
    httpx.post(f"{url}/task/{task_id}/cancel", trust_env=False, timeout=30).raise_for_status()

    async def sweep() -> None:
        async with connect(settings.redis_address) as client:
            await TaskStore(client, settings).sweep()

    until = time.monotonic() + 30
    while (answer := get(url, f"/task/{task_id}")).status_code == httpx.codes.OK and time.monotonic() < until:
        time.sleep(0.1)
        asyncio.run(sweep())
    return said(answer)
