"""POST /task with `input` and `output_schema`: what is taken, what is refused in which words, and what is read."""

import asyncio
import json
import socket
from typing import Any

import httpx
import pytest

import schema_rules
from core_config import Settings
from gateway import output_schema
from taskstore.store import TaskStore

from .conftest import JSON, StartGateway, TinyWorker, submitted
from .test_bad_input import helps

TOTAL = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}
DRAFT_7 = "http://json-schema.org/draft-07/schema#"


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"properties": {"a": schema}}
    return schema


BAD_SCHEMAS: list[tuple[str, Any, str]] = [
    ("a list", [], "output_schema: must be a JSON object"),
    ("a text", "object", "output_schema: must be a JSON object"),
    ("true", True, "output_schema: must be a JSON object"),
    ("an unknown type", {"type": "text"}, "output_schema.type: 'text' is not valid"),
    (
        "deep within",
        {"properties": {"a": {"items": {"minLength": -1}}}},
        "output_schema.properties.a.items.minLength: -1",
    ),
    ("properties a list", {"properties": []}, "output_schema.properties: [] is not of type 'object'"),
    (
        "a property that is no schema",
        {"properties": {"a": "string"}},
        "output_schema.properties.a: 'string' is no schema",
    ),
    ("an option that is no schema", {"anyOf": [{}, 5]}, "output_schema.anyOf.1: 5 is no schema"),
    ("no options", {"anyOf": []}, "output_schema.anyOf: [] should be non-empty"),
    ("items as of old", {"items": [{}]}, "output_schema.items: [{}] is not"),
    ("required a text", {"required": "a"}, "output_schema.required: 'a' is not of type 'array'"),
    ("required objects", {"required": [{}] * 1000}, "output_schema.required: must be a list of texts"),
    (
        "dependent objects",
        {"dependentRequired": {"a": [{}] * 1000}},
        "output_schema.dependentRequired.a: must be a list",
    ),
    ("types that are no texts", {"type": [{}, {}]}, "output_schema.type: must be a list of texts"),
    (
        "an unknown dialect",
        {"$schema": "http://json-schema.org/draft-03/schema#"},
        "output_schema.$schema: is no dialect",
    ),
    ("a dialect that is no text", {"$schema": 7}, "output_schema.$schema: is no dialect"),
    (
        "another dialect within",
        {"properties": {"a": {"$schema": DRAFT_7}}},
        "output_schema.properties.a.$schema: may only",
    ),
    (
        "an id within",
        {"properties": {"a": {"$id": "https://example.com/a"}}},
        "output_schema.properties.a.$id: may only",
    ),
    (
        "a lost reference",
        {"properties": {"a": {"$ref": "#/$defs/b"}}},
        "output_schema.properties.a.$ref: '#/$defs/b' leads to no",
    ),
    ("a reference to data", {"const": {"type": "text"}, "items": {"$ref": "#/const"}}, "'#/const' leads to no schema"),
    ("a lost anchor", {"items": {"$ref": "#here"}}, "output_schema.items.$ref: '#here' leads to no schema"),
    (
        "an anchor before there were any",
        {"$schema": DRAFT_7, "definitions": {"a": {"$anchor": "here"}}, "items": {"$ref": "#here"}},
        "'#here' leads to no schema",
    ),
    ("a reference to a name", {"$ref": "other.json"}, "output_schema.$ref: 'other.json' leads out of the schema"),
    ("a file", {"$ref": "file:///etc/passwd"}, "nothing is fetched"),
    ("a circle of one", {"$ref": "#"}, "refers to itself"),
    (
        "a circle of two",
        {"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"not": {"$ref": "#/$defs/a"}}}},
        "refers to itself",
    ),
    (
        "look-ahead",
        {"properties": {"a": {"pattern": "^(?=x)"}}},
        "output_schema.properties.a.pattern: '^(?=x)' cannot be used: look-around",
    ),
    ("a back-reference", {"pattern": r"(a)\1"}, "backreferences are not supported"),
    ("a pattern that is none", {"pattern": "("}, "unclosed group"),
    ("a huge pattern", {"pattern": "a" * 501}, "output_schema.pattern: has 501 characters; 500 are the most"),
    ("a pattern that grows", {"pattern": "((a{900}){900}){900}"}, "exceeds size limit"),
    (
        "pattern properties",
        {"patternProperties": {"^a": {}}},
        "output_schema.patternProperties: is not supported; describe",
    ),
    (
        "unevaluated",
        {"allOf": [{"unevaluatedItems": False}]},
        "output_schema.allOf.0.unevaluatedItems: is not supported; use",
    ),
    ("dynamic", {"$dynamicRef": "#a"}, "output_schema.$dynamicRef: is not supported; use `$ref`"),
    ("many parts", {"allOf": [{}] * 501}, "output_schema: holds more than 500 schemas"),
    ("large", {"description": "x" * 33_000}, "output_schema: is 33018 bytes of JSON; 32768 are the most"),
]


async def test_a_schema_that_is_none_is_told_where_and_what(
    client: httpx.AsyncClient, store: TaskStore, settings: Settings
):
    for name, schema, phrase in BAD_SCHEMAS:
        answer = await client.post("/task", json={"message": "m", "output_schema": schema})
        try:
            helps(answer, 422, "invalid_request", phrase)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
        assert len(answer.content) < 5000, name
    assert [key async for key in store.redis.scan_iter(f"{settings.key_prefix}*")] == []


GOOD_SCHEMAS: list[dict[str, Any]] = [
    {},
    TOTAL,
    {"type": "array", "items": {"type": "integer"}},
    {"$schema": DRAFT_7, "definitions": {"a": {"type": "string"}}, "items": [{"$ref": "#/definitions/a"}]},
    {"$schema": "https://json-schema.org/draft/2019-09/schema", "type": "object"},
    {
        "$id": "https://example.com/tree",
        "type": "object",
        "properties": {"kids": {"type": "array", "items": {"$ref": "#"}}},
    },
    {
        "$defs": {"a": {"$anchor": "here", "type": "null"}, "b/c~d": {}},
        "anyOf": [{"$ref": "#here"}, {"$ref": "#/$defs/b~1c~0d"}],
    },
    {"properties": {"$ref": {"type": "string"}, "pattern": {"const": {"$ref": "http://127.0.0.1/x"}}, "required": {}}},
    {"enum": [{"$ref": "file:///x", "pattern": "("}], "default": {"type": "nonsense"}, "x-unknown": [1]},
    {"type": "object", "properties": {"数量": {"type": "number", "description": "多少 🎉"}}, "required": ["数量"]},
    {"type": "object", "properties": {"code": {"type": "string", "pattern": r"^\p{Lu}{3}-\d+$"}}},
    nested(14),
]


@pytest.mark.parametrize("schema", GOOD_SCHEMAS, ids=range(len(GOOD_SCHEMAS)))
async def test_a_schema_reaches_the_worker_as_it_was_given(
    client: httpx.AsyncClient, worker: TinyWorker, schema: dict[str, Any]
):
    task = await submitted(client, output_schema=schema)
    claim = await worker.take()
    assert (claim.task_id, claim.output_schema, claim.input) == (task, schema, None)
    assert (await client.get(f"/task/{task}")).json()["output_schema"] == schema


async def test_a_remote_reference_is_refused_and_never_fetched(client: httpx.AsyncClient):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/schema.json"
        for schema in (
            {"$ref": url},
            {"properties": {"a": {"$ref": f"{url}#/a"}}},
            {"$id": url, "$ref": "other.json"},
            {"$schema": url},
            {"$dynamicRef": url},
        ):
            answer = await client.post("/task", json={"message": "m", "output_schema": schema})
            assert answer.status_code == 422, schema
        with pytest.raises(BlockingIOError):
            listener.accept()


async def test_deep_nesting_is_a_422_and_no_fault(client: httpx.AsyncClient):
    body = {"message": "m", "output_schema": nested(20)}
    helps(await client.post("/task", json=body), 422, "invalid_json", "deeper than 32")
    text = b'{"message": "m", "output_schema": ' + b'{"not":' * 30_000
    helps(await client.post("/task", content=text, headers=JSON), 422, "invalid_json", "deeper than 32")


async def test_a_schema_is_looked_at_once_and_a_bad_one_each_time(client: httpx.AsyncClient, monkeypatch):
    looked: list[Any] = []
    real = schema_rules.fault_in

    def look(schema: Any) -> Any:
        looked.append(schema)
        return real(schema)

    monkeypatch.setattr(output_schema, "fault_in", look)
    mine = {**TOTAL, "title": "looked at once"}
    for _ in range(3):
        await submitted(client, output_schema=mine)
    assert looked == [mine]
    for _ in range(2):
        await client.post("/task", json={"message": "m", "output_schema": {"type": "x"}})
    assert len(looked) == 3


@pytest.mark.parametrize(
    ("body", "phrase"),
    [
        ({}, "give `message` or `input`, one of the two; this has neither"),
        ({"message": None, "input": None}, "this has neither"),
        ({"message": "m", "input": {}}, "give `message` or `input`, one of the two, not both"),
        ({"message": "", "input": {}}, "message: is empty"),
        ({"input": []}, "input: must be a JSON object"),
        ({"input": "text"}, "input: must be a JSON object"),
        ({"input": {"a": "x" * 65_536}}, "input: is 65544 bytes of JSON; 65536 are the most that an input may be"),
        ({"inptu": {}}, "did you mean 'input'?"),
    ],
)
async def test_one_of_message_and_input(client: httpx.AsyncClient, body: dict[str, Any], phrase: str):
    helps(await client.post("/task", json=body), 422, "invalid_request", phrase)


async def test_chat_takes_a_message_only(client: httpx.AsyncClient):
    for field in ("input", "output_schema"):
        answer = await client.post("/chat", json={"message": "m", field: {}})
        helps(answer, 422, "invalid_request", f"{field}: is no field of this call")


async def test_an_input_is_kept_as_it_was_given(client: httpx.AsyncClient, worker: TinyWorker):
    given = {"z": 1, "a": [None, True, 1.5, 9007199254740993], "名": "多少 🎉 é", "deep": {"er": [[]]}}
    answer = await client.post("/task", json={"input": given, "message": None, "output_schema": None})
    assert answer.status_code == 200, answer.text
    task = answer.json()["task_id"]
    claim = await worker.take()
    assert (claim.message, claim.input, claim.output_schema) == ("", given, None)
    assert list(claim.input or ()) == list(given), "in its own order"
    read = (await client.get(f"/task/{task}")).json()
    assert (read["input"], read["output_schema"], read["result_json"]) == (given, None, None)
    (listed,) = (await client.get("/tasks")).json()["tasks"]
    assert listed["message"] == json.dumps(given, ensure_ascii=False)


async def test_the_answer_is_read_as_json(client: httpx.AsyncClient, worker: TinyWorker):
    data = {"total": 42, "名": ["é", None, {"a": 1e-3}]}
    task = await submitted(client, output_schema=TOTAL)
    waiting = asyncio.create_task(client.get(f"/task/{task}?wait=10"))
    text = json.dumps(data, ensure_ascii=False)
    await worker.end("success", result=text, result_json=text)
    read = (await waiting).json()
    assert (read["status"], read["result"], read["result_json"]) == ("success", text, data)


async def test_what_else_is_asked_is_another_body_for_an_idempotency_key(client: httpx.AsyncClient):
    first: dict[str, Any] = {"input": {"a": 1, "b": 2}, "output_schema": TOTAL}

    async def send(**changes: Any) -> httpx.Response:
        return await client.post("/task", json={**first, **changes}, headers={"Idempotency-Key": "k"})

    task = (await send()).json()["task_id"]
    assert (await send(input={"b": 2, "a": 1})).json()["task_id"] == task
    assert (await send(input={"a": 1})).status_code == 409
    assert (await send(output_schema={**TOTAL, "title": "x"})).status_code == 409
    assert (await send(output_schema=None)).status_code == 409


async def test_a_body_may_be_larger_than_an_input(start_gateway: StartGateway):
    gateway = start_gateway(max_input_bytes=20, max_body_bytes=1024)
    async with gateway.client() as client:
        assert (await client.post("/task", json={"input": {"a": "x" * 10}})).status_code == 200
        helps(await client.post("/task", json={"input": {"a": "x" * 20}}), 422, "invalid_request", "28 bytes")
