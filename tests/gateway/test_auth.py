"""Who may come in, and what a caller sees of others: nothing."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from core_config import ConfigurationError, Settings
from gateway.app import create_app
from gateway.auth import KeyRing, parse_entries
from taskstore.store import TaskStore

from .conftest import RunningGateway, StartGateway, TinyWorker, submitted

ALICE, ALICE_NEW, BOB, ROOT = "ak_alice_1", "ak_alice_2", "ak_bob", "ak_root"


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


API_KEYS = (
    f"alice:{digest(ALICE)},alice:{digest(ALICE_NEW)}, bob:{digest(BOB).upper()},"
    f"root:{digest(ROOT)}:admin"
)  # fmt: skip
KEYED = {"api_keys": API_KEYS, "active_model_key": "Simulator"}


@pytest.fixture
def gateway(start_gateway: StartGateway) -> RunningGateway:
    return start_gateway(**KEYED)


Route = tuple[str, str, dict[str, Any]]
ROUTES: list[Route] = [
    ("POST", "/task", {"json": {"message": "m"}}),
    ("POST", "/chat", {"json": {"message": "m"}}),
    ("GET", "/task/{id}", {}),
    ("GET", "/task/{id}?wait=0.1", {}),
    ("POST", "/task/{id}/cancel", {}),
    ("GET", "/tasks", {}),
    ("GET", "/models", {}),
    ("GET", "/agents", {}),
    ("GET", "/openapi.json", {}),
    ("GET", "/docs", {}),
    ("GET", "/no-such-route", {}),
]
OF_A_TASK = [route for route in ROUTES if "{id}" in route[1]]


async def ask(client: httpx.AsyncClient, route: Route, task_id: str) -> httpx.Response:
    method, path, options = route
    return await client.request(method, path.replace("{id}", task_id), **options)


def alike(answer: httpx.Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    """All of an answer but the time and the request's own id."""
    headers = [pair for pair in answer.headers.items() if pair[0] not in {"date", "x-request-id"}]
    return answer.status_code, answer.content, headers


WRONG_KEYS = [
    None, "", "Bearer", "Bearer wrong", f"Bearer {ALICE[:-1]}", f"Bearer {ALICE}x", f"Bearer {ALICE} {BOB}",
    f"Basic {ALICE}", ALICE, f"Bearer {digest(ALICE)}", "Bearer " + "k" * 60_000, "Bearer ключ", "Bearer \xff\xfe",
]  # fmt: skip


async def test_without_a_right_key_every_door_is_shut_the_same_way(gateway: RunningGateway):
    async with gateway.client() as client:
        answers = [
            await client.request(
                method, path, headers=[] if wrong is None else [(b"authorization", wrong.encode())], **options
            )
            for wrong in WRONG_KEYS
            for method, path, options in ROUTES
        ]
    first = answers[0]
    assert first.status_code == 401
    assert first.json()["code"] == "unauthorized"
    assert first.headers["www-authenticate"].startswith("Bearer")
    assert all(alike(answer) == alike(first) for answer in answers)


async def test_two_keys_in_one_call_are_none(gateway: RunningGateway):
    headers = [("authorization", f"Bearer {ALICE}"), ("authorization", f"Bearer {BOB}")]
    async with gateway.client() as client:
        assert (await client.get("/models", headers=headers)).status_code == 401


async def test_a_key_in_the_address_opens_nothing(gateway: RunningGateway):
    async with gateway.client() as client:
        assert (await client.get(f"/models?api_key={ALICE}&authorization=Bearer%20{ALICE}")).status_code == 401


async def test_what_a_balancer_and_prometheus_read_is_open(gateway: RunningGateway):
    async with gateway.client() as client:
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/ready")).status_code == 503
        assert (await client.get("/metrics")).status_code == 200


async def test_the_api_document_is_there_for_who_has_a_key_and_says_where_one_is_needed(gateway: RunningGateway):
    async with gateway.client(ALICE) as alice:
        document = (await alice.get("/openapi.json")).json()
        assert (await alice.get("/docs")).status_code == 404, "a browser cannot send a key"
    needed = {path: operation["security"] for path, way in document["paths"].items() for operation in way.values()}
    assert {path for path, security in needed.items() if security == []} == {"/health", "/ready", "/metrics"}
    assert all(security in ([], [{"key": []}]) for security in needed.values())
    assert document["components"]["securitySchemes"]["key"] == {"type": "http", "scheme": "bearer"}


async def test_both_keys_of_a_rotation_are_one_caller(gateway: RunningGateway, store: TaskStore):
    async with gateway.client(ALICE) as old, gateway.client(ALICE_NEW) as new:
        task_id = await submitted(old)
        assert (await new.get(f"/task/{task_id}")).status_code == 200
    assert (await store.get(task_id)).caller == "alice"


@pytest.mark.parametrize("route", OF_A_TASK, ids=lambda route: f"{route[0]} {route[1]}")
async def test_anothers_task_is_no_task(gateway: RunningGateway, store: TaskStore, route: Route):
    async with gateway.client(ALICE) as alice, gateway.client(BOB) as bob, gateway.client() as nobody:
        task_id = await submitted(alice)
        foreign = await ask(bob, route, task_id)
        missing = await ask(bob, route, "f" * 32)
        no_id = await ask(bob, route, "nonsense")
        assert foreign.status_code == 404
        assert alike(foreign) == alike(missing) == alike(no_id)
        assert (await ask(nobody, route, task_id)).status_code == 401
        assert (await store.get(task_id)).status.value == "pending", "nothing of it was touched"
        assert (await ask(alice, route, task_id)).status_code == 200


@pytest.mark.parametrize("route", OF_A_TASK, ids=lambda route: f"{route[0]} {route[1]}")
async def test_an_admin_may_act_on_every_task(gateway: RunningGateway, route: Route):
    async with gateway.client(ALICE) as alice, gateway.client(ROOT) as root:
        task_id = await submitted(alice)
        assert (await ask(root, route, task_id)).status_code == 200


async def test_idempotency_keys_of_two_callers_never_meet(gateway: RunningGateway):
    key = {"idempotency-key": "same"}
    async with gateway.client(ALICE) as alice, gateway.client(BOB) as bob:
        first = await alice.post("/task", headers=key, json={"message": "hers"})
        second = await bob.post("/task", headers=key, json={"message": "his"})
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json()["task_id"] != second.json()["task_id"]


async def test_with_keys_the_fair_share_is_the_callers(gateway: RunningGateway, worker: TinyWorker):
    """What a caller writes into user_id moves nobody: it neither shares another's turn nor invents one."""
    async with gateway.client(ALICE) as alice, gateway.client(BOB) as bob:
        for _ in range(6):
            await submitted(alice, user_id="the same", message="alice")
        await submitted(bob, user_id="the same", message="bob")
    order = [(await worker.take()).message for _ in range(7)]
    assert order.index("bob") <= 1, order


async def test_no_key_is_stored_in_plain(gateway: RunningGateway, settings: Settings):
    async with gateway.client(ALICE) as alice:
        await submitted(alice)
    with redis.Redis.from_url(settings.redis_address) as server:
        dumps = [server.dump(key) for key in server.scan_iter(f"{settings.key_prefix}*")]
    assert dumps
    assert not any(ALICE.encode() in dump for dump in dumps if isinstance(dump, bytes))


async def test_the_keys_file_is_read_again_when_it_changes(start_gateway: StartGateway, tmp_path: Path):
    file = tmp_path / "keys"
    file.write_text(f"# our callers\n\nalice:{digest(ALICE)}\n")
    gateway = start_gateway(api_keys_file=file, active_model_key="Simulator")

    async def opens(key: str) -> bool:
        async with gateway.client(key) as client:
            return (await client.get("/models")).status_code == 200

    async def becomes(key: str, *, open_: bool) -> None:
        async with asyncio.timeout(5):
            while await opens(key) is not open_:
                await asyncio.sleep(0.05)

    assert await opens(ALICE)
    assert not await opens(BOB)
    file.write_text(f"bob:{digest(BOB)}  # hired today\n")
    await becomes(BOB, open_=True)
    assert not await opens(ALICE), "revoked"


def test_a_bad_file_keeps_the_last_good_keys(tmp_path: Path, settings: Settings, caplog: pytest.LogCaptureFixture):
    file = tmp_path / "keys"
    file.write_text(f"alice:{digest(ALICE)}\n")
    ring = KeyRing(settings.model_copy(update={"api_keys_file": file}))

    def said() -> list[str]:
        return [record.message for record in caplog.records if record.name == "gateway.auth"]

    for content in (f"alice:{ALICE}\n", "", None):
        caplog.clear()
        file.unlink() if content is None else file.write_text(content)
        ring._looked_at -= 10
        assert ring.caller(ALICE.encode()) is not None
        assert said() == ["keys_kept"]
        assert ALICE not in caplog.text
        ring._looked_at -= 10
        assert ring.caller(ALICE.encode()) is not None
        assert said() == ["keys_kept"], "said once"
    file.write_text(f"bob:{digest(BOB)}\n")
    ring._looked_at -= 10
    assert ring.caller(ALICE.encode()) is None
    assert ring.caller(BOB.encode()) is not None


@pytest.mark.parametrize(
    "entry",
    [
        "alice",
        f"alice:{ALICE}",
        f":{digest(ALICE)}",
        f"*:{digest(ALICE)}",
        f"a b:{digest(ALICE)}",
        f"a:b:{digest(ALICE)}",
        f"alice:{digest(ALICE)[:-1]}",
        f"alice:{digest(ALICE)}0",
        f"alice:{digest(ALICE)}:root",
        f"alice:{digest(ALICE)}:admin:more",
        f"{'a' * 65}:{digest(ALICE)}",
        f"bob:{digest(BOB)}:admin",
    ],
)
def test_a_malformed_entry_refuses_the_start_and_is_named_by_number(settings: Settings, entry: str):
    with pytest.raises(ConfigurationError) as refused:
        create_app(settings.model_copy(update={**KEYED, "api_keys": f"bob:{digest(BOB)},{entry}"}))
    said = str(refused.value)
    assert "API_KEYS, entry 2" in said
    assert "manage.py keys new" in said or "earlier entry" in said
    assert ALICE not in said
    assert digest(ALICE)[:20] not in said


def test_keys_that_hold_no_key_refuse_the_start(settings: Settings, tmp_path: Path):
    empty = tmp_path / "keys"
    for changes in ({"api_keys": " , "}, {"api_keys_file": tmp_path / "missing"}, {"api_keys_file": empty}):
        empty.write_text("# nobody yet\n")
        with pytest.raises(ConfigurationError, match="API_KEYS"):
            create_app(settings.model_copy(update={"active_model_key": "Simulator", **changes}))


def test_entries_may_be_spaced_and_commented():
    keys = parse_entries([f" alice : {digest(ALICE)} : admin # the boss", "", "# nothing"], "X")
    (caller,) = keys.values()
    assert (caller.name, caller.admin) == ("alice", True)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org"])
def test_an_open_door_refuses_the_start(settings: Settings, host: str):
    with pytest.raises(ConfigurationError, match="API_KEYS") as refused:
        create_app(settings.model_copy(update={"gateway_host": host, "active_model_key": "Simulator"}))
    assert "GATEWAY_HOST=127.0.0.1" in str(refused.value)
    create_app(settings.model_copy(update={**KEYED, "gateway_host": host}))


@pytest.mark.parametrize("changes", [{"gateway_host": "0.0.0.0"}, {}])
def test_with_keys_the_simulator_is_not_taken_unasked(settings: Settings, changes: dict[str, str]):
    with pytest.raises(ConfigurationError, match="ACTIVE_MODEL_KEY=Simulator"):
        create_app(settings.model_copy(update={"api_keys": API_KEYS, **changes}))


async def test_without_keys_only_this_machines_names_are_served(start_gateway: StartGateway):
    async with start_gateway().client() as client:
        for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil", "[::2]", "[", ""):
            for method, path, options in ROUTES:
                answer = await client.request(method, path, headers={"host": host}, **options)
                assert (answer.status_code, answer.json()["code"]) == (403, "forbidden_host"), host
        for host in ("localhost", "LOCALHOST:1234", "127.0.0.1", "127.1.2.3:80", "[::1]:8000"):
            assert (await client.get("/models", headers={"host": host})).status_code == 200, host
