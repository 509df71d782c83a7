"""Pages of other origins: those that CORS_ORIGINS names can call and read every answer, all others nothing."""

import asyncio
import hashlib
from collections.abc import Callable

import httpx
import pytest
import redis

from core_config import ConfigurationError, Settings
from gateway.app import create_app
from longhaul_testing.ports import free_port
from taskstore.store import TaskStore

from .conftest import JSON, GatewayProcess, RunningGateway, StartGateway, TinyWorker, submitted
from .event_reader import events_of

APP, LOCAL = "https://app.example.com", "http://localhost:8080"
KEYS = f"alice:{hashlib.sha256(b'alice').hexdigest()}"
EXPOSED = "Retry-After, WWW-Authenticate, X-Request-ID"


@pytest.fixture
def listed(start_gateway: StartGateway) -> RunningGateway:
    return start_gateway(cors_origins=f"{APP}, {LOCAL}", api_keys=KEYS, active_model_key="Simulator")


def cors_of(answer: httpx.Response) -> dict[str, str]:
    return {
        name: value for name, value in answer.headers.items() if name.startswith("access-control-") or name == "vary"
    }


def readable(origin: str = APP) -> dict[str, str]:
    """What lets a page of the origin read an answer to anything but a preflight."""
    return {
        "access-control-allow-origin": origin,
        "access-control-expose-headers": EXPOSED,
        "vary": "Origin",
    }


async def preflight(
    client: httpx.AsyncClient, path: str, method: str, headers: str = "", **more: str
) -> httpx.Response:
    asked = {"origin": APP, "access-control-request-method": method, **more}
    if headers:
        asked["access-control-request-headers"] = headers
    return await client.options(path, headers=asked)


@pytest.mark.parametrize(
    ("path", "method", "headers"),
    [
        ("/task", "POST", "authorization,content-type,idempotency-key"),
        ("/task/1/events", "GET", "authorization,last-event-id"),
        ("/session/s", "DELETE", "authorization,x-request-id"),
        ("/models", "GET", "authorization"),
    ],
)
async def test_a_preflight_of_a_listed_origin_needs_no_key(
    listed: RunningGateway, path: str, method: str, headers: str
):
    async with listed.client() as client:
        answer = await preflight(client, path, method, headers)
        assert answer.status_code == 200
        found = cors_of(answer)
        assert found["access-control-allow-origin"] == APP
        assert found["access-control-max-age"] == "600"
        assert {name.strip().lower() for name in found["access-control-allow-headers"].split(",")} >= set(
            headers.split(",")
        )
        assert method in found["access-control-allow-methods"].split(", ")
        assert "Origin" in found["vary"].split(", ")
        assert "access-control-allow-credentials" not in found, "there are no cookies to send along"
        nearby = await preflight(client, path, method, headers, **{"access-control-request-private-network": "true"})
        assert nearby.headers["access-control-allow-private-network"] == "true"


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example", "null", "http://app.example.com", f"{APP}:8443", f"{APP}.evil.example", f"{APP}/",
        "https://APP.example.com", "https://sub.app.example.com", "*", f"{APP}, {LOCAL}", "http://localhost:8081",
    ],
)  # fmt: skip
async def test_another_origin_is_answered_as_if_there_were_no_list(listed: RunningGateway, origin: str):
    async with listed.client("alice") as client:
        refused = await preflight(client, "/task", "POST", origin=origin)
        assert refused.status_code == 400
        assert "access-control-allow-origin" not in refused.headers
        for path in ("/models", "/task/none", "/nope"):
            found = cors_of(await client.get(path, headers={"origin": origin}))
            assert "access-control-allow-origin" not in found, path
            assert found["vary"] == "Origin"


async def test_a_preflight_for_what_no_route_takes_is_refused(listed: RunningGateway):
    async with listed.client() as client:
        assert (await preflight(client, "/task", "PUT")).status_code == 400
        assert (await preflight(client, "/task", "POST", "x-anything")).status_code == 400


async def test_answers_differ_by_origin_and_say_so(listed: RunningGateway):
    async with listed.client("alice") as client:
        for origin in (APP, LOCAL):
            assert cors_of(await client.get("/models", headers={"origin": origin})) == readable(origin)
        # a cache must not keep this one, and then give it to a page
        assert cors_of(await client.get("/models")) == {"vary": "Origin"}


async def test_without_the_setting_nothing_is_said(start_gateway: StartGateway):
    async with start_gateway().client() as client:
        assert cors_of(await client.get("/models", headers={"origin": LOCAL})) == {}
        assert (await preflight(client, "/task", "POST", origin=LOCAL)).status_code == 405


async def test_a_page_can_read_every_problem(
    listed: RunningGateway, start_gateway: StartGateway, store: TaskStore, settings: Settings
):
    """Also one of our own fault, which is answered by the outermost layer but this one."""
    page = {"origin": APP}
    async with listed.client("alice") as client:
        task_id = await submitted(client)
        with redis.Redis.from_url(settings.redis_address) as server:
            server.hset(store.keys.task(task_id), "status", "a-later-version's")
        big = b'{"message": "' + b"m" * 300_000 + b'"}'
        answers = [
            await client.get("/models", headers={**page, "authorization": "Bearer wrong"}),
            await client.get(f"/task/{'f' * 32}", headers=page),
            await client.get(f"/task/{'f' * 32}/events", headers=page),
            await client.get("/nope", headers=page),
            await client.put("/task", headers=page),
            await client.post("/task", headers={**page, **JSON}, content=big),
            await client.post("/task", headers={**page, "content-type": "text/plain"}, content=b"{}"),
            await client.post("/task", headers=page, json={"mesage": "m"}),
            await client.get(f"/task/{task_id}", headers=page),
        ]
        assert [answer.status_code for answer in answers] == [401, 404, 404, 404, 405, 413, 415, 422, 500]
        assert [cors_of(answer) for answer in answers] == [readable()] * len(answers)
        assert answers[0].headers["www-authenticate"]


async def test_a_page_can_read_when_to_come_back(start_gateway: StartGateway):
    page = {"origin": APP}
    full = start_gateway(cors_origins=APP, queue_max_depth=1)
    away = start_gateway(cors_origins=APP, redis_url=f"redis://127.0.0.1:{free_port()}/0")
    async with full.client() as at_full, away.client() as at_away:
        await submitted(at_full)
        answers = [
            await at_full.post("/task", headers=page, json={"message": "one too many"}),
            await at_away.post("/task", headers=page, json={"message": "m"}),
        ]
        assert [answer.status_code for answer in answers] == [429, 503]
        assert [cors_of(answer) for answer in answers] == [readable()] * 2
        assert all(answer.headers["retry-after"] for answer in answers)


async def test_a_stream_is_not_held_back(listed: RunningGateway, worker: TinyWorker):
    """Each event is read by a page before the next one happens."""
    page = {"origin": APP}
    async with listed.client("alice") as alice, asyncio.timeout(60):
        task_id = await submitted(alice)
        token = (await alice.post(f"/task/{task_id}/watch-token", headers=page)).json()["watch_token"]
        async with listed.client() as browser:
            browser.headers["origin"] = LOCAL
            async with events_of(browser, task_id, watch_token=token) as reader:
                assert cors_of(reader.answer) == readable(LOCAL)
                assert (await anext(reader)).data["status"] == "pending"
                claim = await worker.take()
                assert (await anext(reader)).data["status"] == "running"
                await worker.end("success", claim, result="done")
                assert (await anext(reader)).data["status"] == "success"
                last = await anext(reader)
                assert (last.name, last.data["result"]) == ("result", "done")
            seen = await browser.get(
                f"/task/{task_id}/events", params={"watch_token": token}, headers={"last-event-id": str(last.id)}
            )
            assert (seen.status_code, cors_of(seen)) == (204, readable(LOCAL))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("*", "'*': every page in the world could call"),
        (f"{APP},*", "'*': every page"),
        ("null", "'null': every file and every sandboxed frame"),
        ("https://app.example.com/", "nothing after it"),
        ("https://app.example.com/page", "nothing after it"),
        ("https://App.example.com", "in lower case"),
        ("https://*.example.com", "'https://*.example.com': an origin is"),
        ("app.example.com", "an origin is http:// or https://"),
        ("ftp://app.example.com", "an origin is http:// or https://"),
        ("https://app.example.com:443", "leave out a scheme's own port; write https://app.example.com."),
        ("http://localhost:80", "leave out a scheme's own port; write http://localhost."),
        ("http://localhost:0", "an origin is"),
        ("https://user@app.example.com", "an origin is"),
    ],
)
def test_what_no_page_could_be_is_refused(settings: Settings, given: str, said: str):
    with pytest.raises(ConfigurationError, match=r"^CORS_ORIGINS: ") as caught:
        create_app(settings.model_copy(update={"cors_origins": given}))
    assert said in str(caught.value)
    assert "Write for example CORS_ORIGINS=https://app.example.com" in str(caught.value)


@pytest.mark.parametrize(
    "given", ["http://[::1]:8080", "http://127.0.0.1:5500", "https://xn--bcher-kva.example", APP + ","]
)
def test_what_a_page_can_be_is_taken(settings: Settings, given: str):
    create_app(settings.model_copy(update={"cors_origins": given}))


def test_a_process_refuses_it_at_its_start(run_gateway: Callable[..., GatewayProcess]):
    process = run_gateway(CORS_ORIGINS="*")
    assert process.ended() == 2
    assert process.said().startswith("gateway: CORS_ORIGINS: '*': ")
