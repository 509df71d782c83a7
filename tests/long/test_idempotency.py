"""A hundred submits at once with one idempotency key, for each of a thousand keys: a thousand tasks."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from core_config import ROOT
from tests.long.deployment import Deployment

KEYS, AT_ONCE, CLIENTS = 1000, 100, 2


class Client:
    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def ask(self, key: str, body: dict[str, Any], times: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"key": key, "body": json.dumps(body), "times": times}) + "\n")
        self._process.stdin.flush()

    def answers(self) -> list[tuple[int, str]]:
        assert self._process.stdout is not None
        return [(status, said) for status, said in json.loads(self._process.stdout.readline())["answers"]]


@contextmanager
def client(host: str, port: int, connections: int) -> Iterator[Client]:
    command = [sys.executable, "-m", "tests.long.flood", host, str(port), str(connections)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Client(process)
        finally:
            process.kill()


def test_a_hundred_submits_at_once_with_one_key_are_one_task(tmp_path, report):
    ids: list[str] = []
    wrong: list[object] = []
    conflicts = 0
    with Deployment(tmp_path / "keys") as deployment, ExitStack() as stack:
        seen = deployment.seen
        deployment.start_gateway()
        deployment.at_work(deployment.start_worker())
        host, _, port = seen.url.removeprefix("http://").partition(":")
        clients = [stack.enter_context(client(host, int(port), AT_ONCE // CLIENTS)) for _ in range(CLIENTS)]
        began = time.monotonic()
        for number in range(KEYS):
            body = {"agent": "counted", "input": {"journal": str(tmp_path / "keys" / "journal"), "seconds": 0}}
            for one in clients:
                one.ask(f"key-{number}", body, AT_ONCE // CLIENTS)
            answers = [answer for one in clients for answer in one.answers()]
            ids.append(answers[0][1])
            if len(answers) != AT_ONCE or set(answers) != {(200, ids[-1])}:
                wrong.append((number, set(answers)))
        seconds = time.monotonic() - began
        for number in range(KEYS):
            clients[0].ask(f"key-{number}", {"message": "something else"}, 1)
            conflicts += clients[0].answers() == [(409, "idempotency_conflict")]
        seen.wait_final(ids)
        runs = [line.task for line in seen.lines() if line.what == "begin"]
        stored = seen.redis.zcard(seen.keys.caller("local"))
        assert seen.audit() == []
    about = f"{AT_ONCE} submits at once with one key, {KEYS} keys"
    report(f"{about}: tasks", str(KEYS), str(stored), met=stored == KEYS)
    report(f"{about}: keys whose answers were not all 200 with one id", "0", str(len(wrong)), met=not wrong)
    report(f"{about}: runs", f"{KEYS}, one a task", str(len(runs)), met=sorted(runs) == sorted(ids))
    report("each key again with another body: answers 409", str(KEYS), str(conflicts), met=conflicts == KEYS)
    report(f"{about}: submits a second of one gateway", "reported", f"{KEYS * AT_ONCE / seconds:.0f}", met=True)
    assert wrong == []
    assert stored == KEYS == len(set(ids)) == conflicts
    assert sorted(runs) == sorted(ids)
