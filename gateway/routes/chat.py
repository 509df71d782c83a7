"""POST /chat: a task in the interactive lane, and a wait for its answer."""

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from gateway.answers import answer
from gateway.openapi import problems
from gateway.problems import TASK_STATUSES, Problem, TaskFailed
from gateway.running import Gateway, caller_of, gateway_of
from gateway.schemas import ChatAnswer, ChatBody
from gateway.submission import BODY_PROBLEMS, IdempotencyKey, Traceparent, submit
from gateway.waiting import ClientGoneError, NobodyThere, wait_for
from taskstore.errors import StoreUnavailable
from taskstore.records import Kind, TaskRecord
from taskstore.states import Status


async def chat(
    request: Request, body: ChatBody, idempotency_key: IdempotencyKey = None, traceparent: Traceparent = None
) -> Response:
    """Runs the message before queued tasks and answers with the agent's words. A call that takes longer than
    CHAT_TIMEOUT_SECONDS is a 504 with the `task_id`; the task goes on, as it does when you go away.
    """
    gateway, caller = gateway_of(request), caller_of(request)
    submitted = await submit(request, body, Kind.INTERACTIVE, idempotency_key, traceparent)
    seconds = gateway.settings.chat_timeout_seconds
    try:
        task = await wait_for(gateway, submitted.task_id, caller.may_touch, seconds, request)
    except ClientGoneError:
        return NobodyThere()
    except StoreUnavailable as error:
        retry_after = {"Retry-After": str(error.retry_after_s)}
        text = f"The task was accepted, but its store does not answer. Ask GET /task/{submitted.task_id} later."
        raise Problem("store_unavailable", text, headers=retry_after, task_id=submitted.task_id) from error
    if task.status is Status.SUCCESS:
        return answer(_answer(task, simulated=gateway.models.simulated(task)))
    raise _problem(gateway, task)


def _problem(gateway: Gateway, task: TaskRecord) -> Problem:
    if task.is_final:
        return TaskFailed(task.error_code, task.error or "The task did not succeed.", task_id=task.task_id)
    follow = f"The task goes on; follow it with GET /task/{task.task_id}?wait=60."
    if gateway.stopping.is_set():
        return Problem(
            "shutting_down",
            f"This gateway is being restarted. {follow}",
            headers={"Retry-After": "1"},
            task_id=task.task_id,
        )
    return Problem("chat_timeout", f"No answer within the time that this call waits. {follow}", task_id=task.task_id)


def _answer(task: TaskRecord, *, simulated: bool) -> ChatAnswer:
    return ChatAnswer(
        output=task.result or "",
        duration_ms=task.duration_ms or 0,
        session_id=task.session_id,
        task_id=task.task_id,
        token_usage=None if task.usage is None else task.usage.as_dict(),
        cost_usd=task.cost_usd,
        model=task.model,
        simulated=simulated,
    )


def add(app: FastAPI) -> None:
    app.add_api_route(
        "/chat",
        chat,
        methods=["POST"],
        response_model=ChatAnswer,
        responses=problems(*BODY_PROBLEMS, "shutting_down", "chat_timeout", *TASK_STATUSES),
        tags=["tasks"],
    )
