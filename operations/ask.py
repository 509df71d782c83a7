"""Submits a question, waits for the answer and prints it; tokens, time and cost go to stderr.

With --schema the answer is JSON that satisfies the JSON Schema. --input gives a JSON object in place of the question.

Exit codes: 0 answered, 1 the task failed or could not be submitted.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from longhaul_client import Client, ResultEvent, StatusEvent, StepEvent, Task, TaskFields
from longhaul_client.task import FINAL
from operations import terminal
from operations.client import demand_running, gateway
from operations.errors import CommandError


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
    fields: TaskFields = {
        "input": _json("--input", arguments.input),
        "output_schema": _json("--schema", arguments.schema),
        "agent": arguments.agent,
        "model": arguments.model,
        "session_id": arguments.session,
    }
    demand_running(arguments.url, arguments.key)
    with gateway(arguments.url, arguments.key) as client:
        task_id = client.submit(arguments.message, **fields).task_id
        print(f"task {task_id}", file=sys.stderr, flush=True)
        task = follow(client, task_id)
    print(_account(task), file=sys.stderr)
    if task.status == "success":
        print(task.result)
        return 0
    raise CommandError(f"the task is {task.status} ({task.error_code}): {task.error}")


def follow(client: Client, task_id: str) -> Task:
    """The task when it is final, however long that takes; says on stderr what happens to it meanwhile."""
    if before := client.get(task_id).queue_position:
        print(f"  pending, {before} before it ...", file=sys.stderr, flush=True)
    with client.stream(task_id) as events:
        for event in events:
            match event:
                case ResultEvent():
                    return event.task
                case StatusEvent() if event.status not in FINAL:
                    print(f"  {event.phase or event.status} ...", file=sys.stderr, flush=True)
                case StepEvent(phase="start"):
                    print(f"  {event.kind} {terminal.plain(event.name, 60)} ...", file=sys.stderr, flush=True)
    return client.wait(task_id)


def _json(option: str, given: str | None) -> Any:
    if given is None:
        return None
    try:
        return json.loads(Path(given[1:]).read_text(encoding="utf-8") if given.startswith("@") else given)
    except OSError as error:
        raise CommandError(f"cannot read {option} from {given[1:]}: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{option} is no JSON ({error}). Write {option} '{{...}}' or {option} @FILE.") from None


def _account(task: Task) -> str:
    usage = task.token_usage or {}
    parts = [
        f"{task.model}{' (SIMULATED: made up, no language model ran)' if task.simulated else ''}",
        f"{usage['total_tokens']} tokens" if "total_tokens" in usage else "tokens unknown",
        f"{task.duration_ms / 1000:.2f} s" if task.duration_ms is not None else "no run",
        f"cost {terminal.dollars(task.cost_usd)}",
    ]
    return "  " + ", ".join(parts)
