"""Typed work on the system as shipped: gateway, Redis, worker, LangChain, LiteLLM and the simulator over HTTP. The
examples are those of docs/typed-work.md.
"""

import json
import re
import shlex
import uuid
from typing import Any

import pytest

import schema_rules
from agent import schema_check
from agent.typed_output import OUTPUT_TOOL
from core_config import ROOT, Settings

PAGE = (ROOT / "docs" / "typed-work.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```sh\n(curl .+?)```\n\n```json\n(.+?)```", PAGE, re.DOTALL)
TOTAL = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}


def body_of(command: str) -> Any:
    words = shlex.split(command)
    return json.loads(words[words.index("-d") + 1])


@pytest.mark.parametrize(("command", "shown"), EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_page_s_examples_answer_what_it_shows(system, command, shown):
    wanted = json.loads(shown)
    submitted = system.http.post("/task", json=body_of(command))
    found = submitted.json() if "code" in wanted else system.final(submitted.json()["task_id"])
    assert {name: found[name] for name in wanted} == wanted


def test_the_page_has_examples_of_both_ends_and_of_what_is_refused():
    shown = [json.loads(answer) for _, answer in EXAMPLES]
    assert [one.get("status", one.get("code")) for one in shown] == ["success", "success", "failed", "invalid_request"]


def test_the_page_s_limits_are_the_codes():
    assert f"`MAX_INPUT_BYTES` ({Settings(_env_file=None).max_input_bytes:,})" in PAGE
    assert f"{schema_rules.LONGEST_BYTES:,} bytes as compact JSON, {schema_rules.MOST_PARTS} schemas" in PAGE
    assert (
        f"{schema_rules.LONGEST_PATTERN} characters, tried on texts of up to {schema_check.LONGEST_MATCHED:,}" in PAGE
    )
    assert f"{schema_check.MOST_STEPS:,} steps" in PAGE
    assert f"`{OUTPUT_TOOL}`" in PAGE
    refused = set(re.findall(r"`(\$?\w+)`", next(row for row in PAGE.splitlines() if "refused; the 422" in row)))
    assert refused == set(schema_rules.UNSUPPORTED)


def test_a_wrong_answer_is_repaired_once_and_paid_on_the_record(system):
    mark = f"order {uuid.uuid4().hex}"
    task = system.ask(f"[[step=1 output=wrong]] {mark}", output_schema=TOTAL)
    assert (task["status"], task["attempt"]) == ("success", 1)
    assert isinstance(task["result_json"]["total"], int | float)
    assert json.loads(task["result"]) == task["result_json"]
    calls = [step for step in task["steps"] if step["kind"] == "model"]
    assert len(calls) == 2
    assert task["token_usage"]["total_tokens"] == sum(step["token_usage"]["total_tokens"] for step in calls)


def test_an_answer_that_stays_wrong_ends_the_task_after_one_repair(system):
    task = system.ask(f"[[output=wrong]] {uuid.uuid4().hex}", output_schema=TOTAL)
    assert (task["status"], task["error_code"], task["attempt"]) == ("failed", "invalid_output", 1)
    assert "'total' is a required property" in task["error"]
    assert (task["result"], task["result_json"], task["partial"]) == (None, None, "{}")
    assert len(task["steps"]) == 2
    assert task["token_usage"]["total_tokens"] > 0


@pytest.mark.parametrize("how", ["text", "fenced"])
def test_json_as_text_needs_no_repair(system, how):
    task = system.ask(f"[[output={how}]] {uuid.uuid4().hex}", output_schema=TOTAL)
    assert task["status"] == "success"
    assert set(task["result_json"]) == {"total"}
    assert len(task["steps"]) == 1


def test_prose_is_repaired(system):
    task = system.ask(f"[[output=prose]] {uuid.uuid4().hex}", output_schema=TOTAL)
    assert (task["status"], len(task["steps"])) == ("success", 2)


def test_a_cut_answer_is_a_truncated_one(system):
    assert system.ask(f"[[cut]] {uuid.uuid4().hex}", output_schema=TOTAL)["error_code"] == "answer_truncated"


def test_a_large_input_and_much_unicode_go_all_the_way(system):
    given = {"text": "多少 🎉 é" * 4000, "list": list(range(500)), "deep": {"a": {"b": [{"c": None}]}}}
    schema = {"type": "object", "properties": {"名🎉": {"enum": ["é", "多"]}}, "required": ["名🎉"]}
    submitted = system.http.post("/task", json={"input": given, "output_schema": schema})
    assert submitted.status_code == 200, submitted.text
    task = system.final(submitted.json()["task_id"])
    assert (task["input"], task["result_json"]) == (given, {"名🎉": "é"})


def test_a_session_goes_on_from_typed_work(system):
    session = {"session_id": "typed", "user_id": uuid.uuid4().hex}
    first = system.http.post("/task", json={"input": {"number": "7141"}, "output_schema": TOTAL, **session})
    assert system.final(first.json()["task_id"])["status"] == "success"
    answer = system.http.post("/chat", json={"message": "What did I say?", **session}).json()
    assert '{"number": "7141"}' in answer["output"]


def test_ask_prints_the_json(system, tmp_path):
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(TOTAL))
    asked = system.manage("ask", "--schema", f"@{file}", "Compute 6 * 7")
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout) == {"total": 42}
    by_input = system.manage("ask", "--schema", json.dumps({"type": "array"}), "--input", '{"a": "é"}')
    assert isinstance(json.loads(by_input.stdout), list)
    for arguments, said in (
        (("hi", "--schema", "{"), "--schema is no JSON"),
        (("hi", "--schema", "@/nowhere"), "cannot read --schema from /nowhere"),
        (("hi", "--schema", '{"type": "x"}'), "output_schema.type: 'x' is not valid"),
    ):
        failed = system.manage("ask", *arguments)
        assert failed.returncode == 1
        assert said in failed.stderr
