"""Submits a question, waits for the answer and prints it; tokens, time and cost go to stderr.

With --schema the answer is JSON that satisfies the JSON Schema. --input gives a JSON object in place of the question.

Exit codes: 0 answered, 1 the task failed or could not be submitted.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from operations import terminal
from operations.client import Gateway
from operations.errors import CommandError

FINAL = ("success", "failed", "cancelled")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("message", nargs="?", help="the question")
    asked.add_argument("--input", metavar="JSON|@FILE", help="a JSON object in place of the question")
    parser.add_argument("--schema", metavar="JSON|@FILE", help="JSON Schema that the answer has to satisfy")
    parser.add_argument("--agent", help="the agent that runs it; unset, `default`")
    parser.add_argument("--model", help="a model of the registry in place of the active one (manage.py models)")
    parser.add_argument("--session", metavar="ID", help="a conversation that remembers what was said in it")
    parser.add_argument("--url", help="another gateway than this machine's")
    parser.add_argument("--key", metavar="KEY|@FILE", help="API key, or the file that holds it")


def run(arguments: argparse.Namespace) -> int:
    body = {
        "message": arguments.message,
        "input": _json("--input", arguments.input),
        "output_schema": _json("--schema", arguments.schema),
        "agent": arguments.agent,
        "model": arguments.model,
        "session_id": arguments.session,
    }
    with Gateway(arguments.url, arguments.key) as gateway:
        task_id = gateway.json("POST", "/task", {key: value for key, value in body.items() if value is not None})[
            "task_id"
        ]
        print(f"task {task_id}", file=sys.stderr, flush=True)
        task = follow(gateway, task_id)
    print(_account(task), file=sys.stderr)
    if task["status"] == "success":
        print(task["result"])
        return 0
    raise CommandError(f"the task is {task['status']} ({task.get('error_code')}): {task.get('error')}")


def follow(gateway: Gateway, task_id: str) -> dict[str, Any]:
    """The task when it is final, however long that takes; says on stderr when its status changes."""
    told = ""
    while True:
        task = gateway.json("GET", f"/task/{task_id}?wait=20")
        if task["status"] in FINAL:
            return task
        said = str(task.get("phase") or task["status"])
        if task.get("queue_position") is not None:
            said += f", {task['queue_position']} before it"
        if said != told:
            told = said
            print(f"  {said} ...", file=sys.stderr, flush=True)


def _json(option: str, given: str | None) -> Any:
    if given is None:
        return None
    try:
        return json.loads(Path(given[1:]).read_text(encoding="utf-8") if given.startswith("@") else given)
    except OSError as error:
        raise CommandError(f"cannot read {option} from {given[1:]}: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{option} is no JSON ({error}). Write {option} '{{...}}' or {option} @FILE.") from None


def _account(task: dict[str, Any]) -> str:
    usage = task.get("token_usage") or {}
    parts = [
        f"{task.get('model')}{' (SIMULATED: made up, no language model ran)' if task.get('simulated') else ''}",
        f"{usage['total_tokens']} tokens" if "total_tokens" in usage else "tokens unknown",
        f"{task['duration_ms'] / 1000:.2f} s" if task.get("duration_ms") is not None else "no run",
        f"cost {terminal.dollars(task.get('cost_usd'))}",
    ]
    return "  " + ", ".join(parts)
