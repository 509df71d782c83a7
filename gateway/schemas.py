"""The HTTP bodies: what clients send and what they get. The stored record is another thing (taskstore/records.py)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)

from taskstore.records import OnBusy
from taskstore.states import Status

LONGEST_NAME = 200
LONGEST_METADATA_BYTES = 16_384
LONGEST_DEADLINE_S = 30 * 86_400
LONGEST_WAIT_S = 60


def _printable(text: str) -> str:
    """Names become parts of keys and labels, where a line break or a separator would be two things."""
    if any(character < " " or character == "\x7f" for character in text):
        raise ValueError("holds a control character")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty; say what the agent should do")
    return text


def _moment(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError("must be an ISO 8601 time with an offset, such as 2026-12-31T09:00:00+00:00 (or Z)")
    return moment


def _small(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    if len(orjson.dumps(metadata)) > LONGEST_METADATA_BYTES:
        raise ValueError(f"is larger than {LONGEST_METADATA_BYTES} bytes of JSON")
    return metadata


TaskStatus = Literal["pending", "running", "waiting", "success", "failed", "cancelled"]
Message = Annotated[str, AfterValidator(_not_blank), Field(json_schema_extra={"minLength": 1, "pattern": r"\S"})]
Name = Annotated[str, StringConstraints(max_length=LONGEST_NAME), AfterValidator(_printable)]
Moment = Annotated[
    datetime,
    BeforeValidator(_moment, json_schema_input_type=Annotated[str, Field(json_schema_extra={"format": "date-time"})]),
]
Metadata = Annotated[dict[str, Any], AfterValidator(_small)]
Stamp = Annotated[
    datetime,
    PlainSerializer(lambda time: time.isoformat(timespec="milliseconds"), return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


def _given(name: str, kind: str) -> dict[str, Any]:
    return {"required": [name], "properties": {name: {"type": kind}}}


class Sent(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Asked(Sent):
    session_id: Name | None = Field("default", description="Conversation; `default`, empty or null is none.")
    user_id: Name | None = Field(None, description="For whom; sessions and costs are kept apart by it.")
    on_busy_session: OnBusy = Field(
        "enqueue",
        description="When another task has the session: `enqueue` waits for its turn, `reject` is a 409, `interrupt` "
        "cancels that task and goes first.",
    )
    model: Name | None = Field(
        None, description="Name from `GET /models`; unset, its agent's, and if that has none the active one."
    )
    agent: Name | None = Field(None, description="Name from `GET /agents`; unset, `default`.")


class ChatBody(Asked):
    message: Message = Field(description="What the agent should do.")


class ChatStreamBody(ChatBody):
    on_disconnect: Literal["continue", "cancel"] = Field(
        "continue", description="What becomes of the task when you go away before its result."
    )


class TaskBody(Asked):
    """Exactly one of `message` and `input` has to be given."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [_given("message", "string"), _given("input", "object")]})

    message: Message | None = Field(None, description="What the agent should do. This or `input`.")
    input: dict[str, Any] | None = Field(
        None,
        description="What the agent should work on, as a JSON object; the model reads it as JSON. This or `message`.",
    )
    output_schema: dict[str, Any] | None = Field(
        None,
        description="JSON Schema of the answer (draft 2020-12, or the one that its `$schema` names). The task then has "
        "the answer as `result_json`, which satisfies it, or fails as `invalid_output`. See docs/typed-work.md.",
    )
    priority: int = Field(5, strict=True, ge=1, le=9, description="Each step doubles the share among your own tasks.")
    deadline_s: float | None = Field(
        None,
        strict=True,
        gt=0,
        le=LONGEST_DEADLINE_S,
        allow_inf_nan=False,
        description="Seconds from now after which it fails, wherever it stands.",
    )
    stream: bool = Field(
        False,
        strict=True,
        description="Whether the models' words go into its events as they come (`token`). It costs the workers more.",
    )
    run_at: Moment | None = Field(None, description="Not before this time: ISO 8601 with an offset.")
    metadata: Metadata = Field(
        default_factory=dict,
        description=f"Your own JSON object, given back as it is; {LONGEST_METADATA_BYTES} bytes at most.",
    )


class ReplayBody(Sent):
    model: Name | None = Field(None, description="Name from `GET /models`, for it to run on; unset, the task's own.")


class WaitQuery(Sent):
    wait: float = Field(
        0,
        ge=0,
        le=LONGEST_WAIT_S,
        allow_inf_nan=False,
        description="Seconds to wait for a final status before the answer.",
    )


class EventsQuery(Sent):
    from_: str | None = Field(
        None,
        alias="from",
        max_length=64,
        description="As the header Last-Event-ID, for clients that cannot send it; the header is stronger.",
    )
    tokens: bool = Field(False, description="Whether to send what a model says as it says it.")
    watch_token: str | None = Field(
        None, max_length=64, description="From `POST /task/{task_id}/watch-token`, in place of an API key."
    )


class TaskAccepted(BaseModel):
    task_id: str
    status: str
    created_at: Stamp


class CancelAnswer(BaseModel):
    task_id: str
    status: str = Field(description="`cancelled`, or `running`: it was asked to stop and does so shortly.")


class WatchToken(BaseModel):
    task_id: str
    watch_token: str
    expires_at: Stamp = Field(description="Until then it lets in; a stream that it opened goes on.")
    path: str = Field(description="Of the events, token included: what an `EventSource` takes after the origin.")


class ReplayAnswer(BaseModel):
    task_id: str
    status: TaskStatus = Field(description="`pending`; when asked again, what has become of it since.")
    model: str


class ChatAnswer(BaseModel):
    output: str
    duration_ms: int
    session_id: str | None
    task_id: str
    token_usage: dict[str, int] | None
    cost_usd: float | None
    model: str
    simulated: bool


class ModelView(BaseModel):
    name: str
    active: bool = Field(description="Used by tasks that name none.")
    simulated: bool
    has_key: bool | None = Field(description="Whether its provider's key is set; null when it needs none.")
    price_in: float | None = Field(description="USD per 1,000 prompt tokens; null when the registry sets none.")
    price_out: float | None = Field(description="USD per 1,000 answered tokens.")


class ModelList(BaseModel):
    models: list[ModelView]


class AgentView(BaseModel):
    name: str
    description: str
    model: str = Field(description="Of its tasks that name none.")
    available: bool | None = Field(description="Whether the workers can run it; null before any worker has started.")
    problem: str | None = Field(description="Why it is not available. The whole reason is an admin's to read.")


class AgentList(BaseModel):
    agents: list[AgentView]


class Health(BaseModel):
    status: Literal["healthy"]
    timestamp: Stamp


class Check(BaseModel):
    ok: bool
    detail: str


class Readiness(BaseModel):
    status: Literal["ready", "full", "not_ready"] = Field(
        description="full: what is queued runs and can be read, but submits are refused for now."
    )
    checks: dict[str, Check]
    timestamp: Stamp


class ProblemBody(BaseModel):
    """RFC 9457. `docs/problems.md` lists the codes."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    code: str
    detail: str


def wire_status(status: Status) -> Any:
    """A retry is `pending` to clients that know four statuses."""
    return Status.PENDING.value if status is Status.RETRYING else status.value
