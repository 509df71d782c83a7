"""What the gateway answers to thousands of calls made from its own OpenAPI document, right ones and wrong ones: never a
5xx, never anything that the document doesn't say.

By default 1,500 cases, the same each time; `LONGHAUL_EDGE_CASES=100000` runs as many others, and tests/long 10,000.
"""

import os
import secrets
from collections import Counter
from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.specs.openapi import checks

from .conftest import ALICE, CAROL, Deployment

load_all_checks()

ASKED = os.environ.get("LONGHAUL_EDGE_CASES")
CASES = int(ASKED or 1_500)
OF_A_TASK_PERCENT = 40
SHORT_WAIT_S = 0.05
FRAMING = {"connection", "content-length", "expect", "te", "trailer", "transfer-encoding", "upgrade"}
"""Headers that say where a request ends and what protocol it is: with a wrong one it is no HTTP request any more."""
CHECKS: list[Callable[..., Any]] = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
"""What a document says of answers. schemathesis's other checks ask whether wrong calls are refused, which the gateway's
own tests say more exactly."""


@pytest.fixture
def tasks(deployment: Deployment) -> list[str]:
    """Tasks of Alice's in several states: done, cancelled, for later, waiting behind one of their session."""
    later = {"message": "later", "run_at": "2099-01-01T00:00:00Z"}
    with deployment.client() as client:

        def submitted(**body: Any) -> str:
            return str(client.post("/task", json=body).raise_for_status().json()["task_id"])

        done = submitted(message="done")
        assert client.get(f"/task/{done}?wait=20").json()["status"] == "success"
        cancelled = submitted(**later)
        client.post(f"/task/{cancelled}/cancel").raise_for_status()
        in_session = [submitted(**later, session_id="s", user_id="u", metadata={"a": [1, None]}) for _ in range(2)]
        return [done, cancelled, submitted(**later), *in_session, secrets.token_hex(16)]


@pytest.mark.usefixtures("same_each_time")
def test_no_answer_is_outside_the_document(deployment: Deployment, tasks: list[str]) -> None:
    schema = schemathesis.openapi.from_url(
        f"{deployment.url}/openapi.json", headers={"authorization": f"Bearer {ALICE}"}
    )
    found: Any = schema.get_all_operations()  # each a result, whose `ok` raises what is wrong with the document
    operations = [result.ok() for result in found]
    asked: Counter[str] = Counter()
    answered: Counter[int] = Counter()
    with_input = [operation for operation in operations if not _takes_nothing(operation)]
    with requests.Session() as session:
        session.trust_env = False
        for operation in operations:
            for mode in _modes_of(operation):
                wanted = CASES // (2 * len(with_input)) + 1 if operation in with_input else 1
                while (left := wanted - asked[f"{operation.label} {mode}"]) > 0:
                    before = asked.total()
                    _ask(operation, mode, left, tasks, session, asked, answered)
                    assert asked.total() > before, f"nothing to ask of {operation.label}"
    assert asked.total() >= CASES
    assert answered.keys() >= {200, 404, 409, 422}, "the cases reach further than the door"


def _takes_nothing(operation: Any) -> bool:
    return not (operation.body or operation.path_parameters or operation.query)


def _modes_of(operation: Any) -> list[schemathesis.GenerationMode]:
    """Right calls and wrong ones; what takes no input cannot be called wrongly."""
    modes = schemathesis.GenerationMode
    return [modes.POSITIVE] if _takes_nothing(operation) else [modes.POSITIVE, modes.NEGATIVE]


def _ask(
    operation: Any,
    mode: schemathesis.GenerationMode,
    count: int,
    tasks: list[str],
    session: requests.Session,
    asked: Counter[str],
    answered: Counter[int],
) -> None:
    @hypothesis.settings(
        max_examples=count,
        derandomize=ASKED is None,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(
        case=operation.as_strategy(generation_mode=mode), which=st.integers(0, 99), known=st.sampled_from(tasks)
    )
    def ask(case: Any, which: int, known: str) -> None:
        if case.path_parameters and "task_id" in case.path_parameters and which < OF_A_TASK_PERCENT:
            case.path_parameters["task_id"] = known
            if "wait" in (case.query or {}):
                case.query["wait"] = SHORT_WAIT_S  # the task would really be waited for
            if operation.path.endswith("/events"):  # of one that goes on it would never end
                case.path_parameters["task_id"] = tasks[which % 2]
        if case.path_parameters and "session_id" in case.path_parameters and which < OF_A_TASK_PERCENT:
            case.path_parameters["session_id"] = "s"
            case.query = {**(case.query or {}), "user_id": "u"}
            case.query.pop("caller", None)
        for name in [name for name in case.headers or {} if name.lower() in FRAMING]:
            del case.headers[name]
        key = CAROL if operation.path.endswith("/replay") else ALICE  # Alice would be refused whatever she sent
        response = case.call(session=session, headers={"authorization": f"Bearer {key}"}, timeout=30)
        asked[f"{operation.label} {mode}"] += 1
        answered[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    ask()
