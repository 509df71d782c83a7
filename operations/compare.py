"""Submits one question to several models at once and shows their answers, times, tokens and costs side by side.

Each model is a task of its own on the running system, as `manage.py ask` makes one. Ctrl-C cancels those that are not
done. A model may be named twice, to see how its answers differ.

Exit codes: 0 all answered, 1 one did not or could not be submitted, 130 interrupted.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from longhaul_client import Client, LonghaulError, NotFinalError, TaskFields
from longhaul_client.task import FINAL
from operations import terminal
from operations.client import demand_running, gateway
from operations.errors import CommandError

LEAST_WIDTH = 24
"""Of a column in which an answer can be read; narrower ones go below each other."""
LOOK_SECONDS = 1
"""How long one look at a task waits for its end, before the next one's turn."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("message", help="the question")
    parser.add_argument("--models", required=True, metavar="A,B", help="models of the registry, separated by commas")
    parser.add_argument("--agent", help="the agent that runs it; unset, `default`")
    parser.add_argument("--url", help="another gateway than this machine's")
    parser.add_argument("--key", metavar="KEY|@FILE", help="API key, or the file that holds it")
    parser.add_argument("--json", action="store_true", help="for programs")


@dataclass
class Entrant:
    model: str
    task_id: str
    task: Mapping[str, Any] = field(default_factory=dict)
    """As the gateway answered it when it had ended; empty until then."""

    @property
    def is_done(self) -> bool:
        return self.task.get("status") in FINAL


def run(arguments: argparse.Namespace) -> int:
    models = [name.strip() for name in arguments.models.split(",") if name.strip()]
    if not models:
        raise CommandError("--models names none. Write them with commas between: --models DeepSeek-V3,Qwen-Max.")
    entrants: list[Entrant] = []
    demand_running(arguments.url, arguments.key)
    with gateway(arguments.url, arguments.key) as client:
        try:
            submit(client, arguments.message, models, arguments.agent, entrants)
            follow(client, entrants)
        except BaseException:
            cancel(client, entrants)
            raise
    if arguments.json:
        print(json.dumps([view(one) for one in entrants], indent=2, ensure_ascii=False))
    else:
        show(entrants)
    return 0 if all(one.task["status"] == "success" for one in entrants) else 1


def submit(client: Client, message: str, models: Sequence[str], agent: str | None, entrants: list[Entrant]) -> None:
    """Appends to `entrants`, in the order of `models` once all are there. A name that the gateway does not know goes
    first, so that its refusal comes before another model has cost anything.
    """
    known = {model["name"] for model in client.request("GET", "/models").json()["models"]}
    order = sorted(range(len(models)), key=lambda place: models[place] in known)
    for place in order:
        fields: TaskFields = {"model": models[place]}
        if agent is not None:
            fields["agent"] = agent
        entrants.append(Entrant(models[place], client.submit(message, **fields).task_id))
        print(f"task {entrants[-1].task_id} on {models[place]}", file=sys.stderr, flush=True)
    entrants.sort(key=lambda one: models.index(one.model))


def follow(client: Client, entrants: Sequence[Entrant]) -> None:
    """Returns when all are final, and says on stderr when each one is."""
    while waiting := [one for one in entrants if not one.is_done]:
        for one in waiting:
            with contextlib.suppress(NotFinalError):
                one.task = client.wait(one.task_id, LOOK_SECONDS).data
                print(f"  {one.model}: {one.task['status']}", file=sys.stderr, flush=True)


def cancel(client: Client, entrants: Sequence[Entrant]) -> None:
    for one in entrants:
        if not one.is_done:
            with contextlib.suppress(LonghaulError):  # why it ended is what has to be told, not this
                client.cancel(one.task_id)
                print(f"  {one.model}: cancelled", file=sys.stderr, flush=True)


def view(one: Entrant) -> dict[str, Any]:
    """For JSON: times in milliseconds, cost in USD; null where nobody knows."""
    task = one.task
    return {
        "model": one.model,
        "task_id": one.task_id,
        "status": task["status"],
        "answer": task.get("result"),
        "error": task.get("error"),
        "error_code": task.get("error_code"),
        "duration_ms": task.get("duration_ms"),
        "queued_ms": task.get("queued_ms"),
        "attempts": task.get("attempt"),
        "token_usage": task.get("token_usage"),
        "cost_usd": task.get("cost_usd"),
        "simulated": task.get("simulated"),
    }


def show(entrants: Sequence[Entrant]) -> None:
    """Side by side where each gets a column that can be read, else one below the other."""
    console = Console(highlight=False)
    facts = ("took", "waited", "tokens", "cost", "answer")
    columns = [[_took(one), _waited(one), _tokens(one), _cost(one), _answer(one)] for one in entrants]
    label = max(map(len, facts))
    if (console.width - label - 4) // len(entrants) - 3 >= LEAST_WIDTH:
        table = _table("", *(_heading(one) for one in entrants))
        for place, fact in enumerate(facts):
            table.add_row(Text(fact, style="bold"), *(Text(column[place], overflow="fold") for column in columns))
        console.print(table)
        return
    for one, column in zip(entrants, columns, strict=True):
        table = _table("", _heading(one))
        for fact, text in zip(facts, column, strict=True):
            table.add_row(Text(fact, style="bold"), Text(text, overflow="fold"))
        console.print(table)


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.ROUNDED, show_lines=True, expand=True)
    table.add_column(first, no_wrap=True)
    for heading in others:
        table.add_column(Text(heading, overflow="fold"), ratio=1)
    return table


def _heading(one: Entrant) -> str:
    return f"{one.model}{' (SIMULATED)' if one.task.get('simulated') else ''}"


def _took(one: Entrant) -> str:
    ms = one.task.get("duration_ms")
    attempts = one.task.get("attempt") or 0
    return ("no run" if ms is None else f"{ms / 1000:.2f} s") + (f", attempt {attempts}" if attempts > 1 else "")


def _waited(one: Entrant) -> str:
    ms = one.task.get("queued_ms")
    return "-" if ms is None else f"{ms / 1000:.2f} s"


def _tokens(one: Entrant) -> str:
    usage = one.task.get("token_usage")
    if not usage:
        return "unknown"
    return f"{usage['total_tokens']} ({usage['prompt_tokens']} in, {usage['completion_tokens']} out)"


def _cost(one: Entrant) -> str:
    return terminal.dollars(one.task.get("cost_usd"))


def _answer(one: Entrant) -> str:
    task = one.task
    if task["status"] != "success":
        why = f" ({task['error_code']})" if task.get("error_code") else ""
        return terminal.lines(f"{str(task['status']).upper()}{why}: {task.get('error')}")
    return terminal.lines(str(task.get("result")))
