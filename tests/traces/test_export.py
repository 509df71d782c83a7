"""What leaves a process, to whom, and what becomes of tracing when nobody takes it: real spans, real HTTP."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda
from langfuse._client.resource_manager import LangfuseResourceManager
from opentelemetry.trace import StatusCode

from core_config import Settings
from monitoring import metrics, tracing
from monitoring.logs import Redactor, secrets_of
from monitoring.traces import export, provider
from monitoring.traces.trace import NOT_TRACED
from monitoring.tracing import Tracing
from taskstore.claims import Claim, Settlement
from taskstore.records import Kind
from taskstore.states import Status
from tests.conftest import free_port

from .sink import Sink, sink

SECRET = "canary.of-a-provider.4f9a8b7c"
AWKWARD = 'canary "quoted" \\ slashed ü'
LANGFUSE_SECRET = "canary.langfuse.91d2c3e4"
TOKEN = "canary%2Eof%20otlp"
TASK = "1f496ac277d080b89d9b54a4c4209b35"

MakeTracing = Callable[..., Tracing]


@pytest.fixture
def langfuse() -> Iterator[Sink]:
    with sink() as running:
        yield running


@pytest.fixture
def otlp() -> Iterator[Sink]:
    with sink() as running:
        yield running


@pytest.fixture
async def make() -> AsyncIterator[MakeTracing]:
    """Tracing to these sinks; closed at the end."""
    made: list[Tracing] = []

    def make(langfuse: Sink | str | None = None, otlp: Sink | str | None = None, **changes: Any) -> Tracing:
        given = dict(changes)
        if langfuse is not None:
            given |= {"langfuse_public_key": "public", "langfuse_secret_key": LANGFUSE_SECRET}
            given["LANGFUSE_HOST"] = langfuse if isinstance(langfuse, str) else langfuse.url
        if otlp is not None:
            given["otel_exporter_otlp_endpoint"] = otlp if isinstance(otlp, str) else otlp.url
        settings = Settings(_env_file=None, **given)
        made.append(Tracing(settings, Redactor({SECRET, AWKWARD, *secrets_of(settings)}), "w1"))
        return made[-1]

    yield make
    for one in made:
        await one.close()
    LangfuseResourceManager.reset()  # it keeps a client of each public key for good


def claim(**fields: Any) -> Claim:
    given: dict[str, Any] = {
        "task_id": TASK, "fence": 1, "attempt": 1, "crashes": 0, "retries": 0, "caller": "alice", "model": "M",
        "agent": "default", "kind": Kind.BATCH, "message": "and now?", "user_id": "u", "session_id": "s",
        "metadata": {}, "left_ms": None,
    }  # fmt: skip
    return Claim(**{**given, **fields})


async def run(tracing: Tracing, claimed: Claim | None = None, *, metadata: dict[str, Any] | None = None) -> None:
    """One attempt whose agent fails with what it was asked."""

    def fail(text: str) -> str:
        raise RuntimeError(f"could not use {text}")

    asked = claimed or claim()
    trace = tracing.begin(asked)
    agent = RunnableLambda(str.strip) | RunnableLambda(fail)
    with pytest.raises(RuntimeError), trace.within():
        await agent.ainvoke(asked.message, {"callbacks": list(trace.callbacks()), "metadata": metadata or {}})
    error = f"could not use {asked.message}"
    trace.end(Settlement(task_id=TASK, fence=1, kind="fail", error_code="internal", error=error), Status.FAILED)


def counted(backend: str) -> tuple[float, float, float]:
    """Batches that were sent, batches that were not, spans that were lost."""
    ok, failed = (metrics.TRACES.labels(backend, outcome)._value.get() for outcome in ("ok", "failed"))
    return ok, failed, metrics.SPANS_DROPPED.labels(backend)._value.get()


def more(backend: str, before: tuple[float, float, float]) -> tuple[float, ...]:
    return tuple(after - was for after, was in zip(counted(backend), before, strict=True))


NAMES = ["RunnableLambda", "RunnableLambda", "RunnableSequence", "attempt 1", "default", "queue"]


def names(sink: Sink) -> list[str]:
    return sorted("RunnableLambda" if span.name in {"fail", "strip"} else span.name for span in sink.spans())


@pytest.mark.parametrize("which", ["langfuse", "otlp", "both"])
async def test_the_same_spans_go_wherever_they_are_wanted(
    make: MakeTracing, langfuse: Sink, otlp: Sink, which: str
) -> None:
    wanted = {"langfuse": {"langfuse": langfuse}, "otlp": {"otlp": otlp}, "both": {"langfuse": langfuse, "otlp": otlp}}
    before = {backend: counted(backend) for backend in (provider.LANGFUSE, provider.OTLP)}
    traces = make(**wanted[which], otel_exporter_otlp_headers=f"x-scope=tenant,authorization=Bearer%20{TOKEN}")
    await run(traces)
    await traces.close()
    for name, place, path in (
        ("langfuse", langfuse, "/api/public/otel/v1/traces"),
        ("otlp", otlp, "/v1/traces"),
    ):
        is_wanted = which in {name, "both"}
        assert names(place) == (NAMES if is_wanted else [])
        assert {request.path for request in place.requests} == ({path} if is_wanted else set())
        assert {span.resource["service.name"] for span in place.spans()} == ({"longhaul"} if is_wanted else set())
        assert more(name, before[name]) == ((1, 0, 0) if is_wanted else (0, 0, 0))
    assert not langfuse.holds("x-scope"), "no header of one backend goes to the other"
    for request in otlp.requests:
        assert request.headers["x-scope"] == "tenant"
        assert request.headers["authorization"] == "Bearer canary.of otlp"
        assert "langfuse-public" not in str(request.headers)


async def test_headers_of_the_environment_go_to_nobody_else(
    make: MakeTracing, langfuse: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-token=for-another")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "my-agents")
    traces = make(langfuse)
    await run(traces)
    await traces.close()
    assert {span.resource["service.name"] for span in langfuse.spans()} == {"my-agents"}, "what names it is heard"
    assert not langfuse.holds("for-another")


@pytest.mark.parametrize("which", ["langfuse", "otlp"])
async def test_no_secret_is_in_any_span(
    make: MakeTracing, langfuse: Sink, otlp: Sink, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In inputs, outputs, errors, metadata and their names, the names of spans, the status, and the resource."""
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", f"deployment={SECRET}")
    place = {"langfuse": langfuse, "otlp": otlp}[which]
    traces = make(**{which: place}, otel_exporter_otlp_headers=f"authorization={TOKEN}")
    spans = traces._spans
    assert spans
    with spans.tracer.start_as_current_span(f"of {SECRET}") as odd:
        odd.add_event(f"saw {SECRET}", {"what": [f"a {SECRET}"]})
        odd.add_link(odd.get_span_context(), {"why": SECRET})
    said = f"use {SECRET} and {AWKWARD} and canary.of otlp or {LANGFUSE_SECRET}"
    metadata = {"note": [SECRET, {"deep": AWKWARD}], SECRET: "name"}
    await run(traces, claim(message=said, user_id=SECRET, agent=f"of {SECRET}"), metadata=metadata)
    await traces.close()
    sent = str(place.spans())
    assert sent.count("[redacted]") > 10
    for secret in (SECRET, "quoted", "slashed", LANGFUSE_SECRET if which == "langfuse" else SECRET, "canary.of otlp"):
        assert not place.holds(secret), secret
        assert secret not in sent


async def test_while_nobody_takes_spans_few_are_made(
    make: MakeTracing, langfuse: Sink, otlp: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "MOST_WHILE_FAILING", len(NAMES) + 1)
    monkeypatch.setenv("LANGFUSE_FLUSH_INTERVAL", "3600")
    langfuse.status = 401
    traces = make(langfuse)
    await run(traces)
    spans = traces._spans
    assert spans

    def flush() -> None:
        spans._provider.processors[-1].force_flush()

    for _ in range(2):
        await run(traces)
    assert len(langfuse.requests) == 0, "nobody was asked so far, so all are traced"
    flush()
    before = counted(provider.LANGFUSE)[2]
    for _ in range(2):
        await run(traces)
    assert counted(provider.LANGFUSE)[2] == before, "fewer wait than are let wait"
    assert traces.begin(claim()) is NOT_TRACED
    assert counted(provider.LANGFUSE)[2] == before + 1
    langfuse.status = 200
    flush()
    assert traces.begin(claim()) is not NOT_TRACED, "it takes them again"


async def test_one_backend_that_takes_them_is_enough(
    make: MakeTracing, langfuse: Sink, otlp: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "MOST_WHILE_FAILING", 0)
    monkeypatch.setattr(provider, "SEND_S", 0.2)
    langfuse.status = 401
    traces = make(langfuse, otlp)
    await run(traces)
    spans = traces._spans
    assert spans
    for processor in spans._provider.processors:
        processor.force_flush()
    assert [exporter.skips() for exporter in spans.exporters] == [True, False]
    assert traces.begin(claim()) is not NOT_TRACED


async def test_half_a_surrogate_pair_keeps_nothing_from_being_sent(make: MakeTracing, langfuse: Sink) -> None:
    """JSON of a model can hold one; OTLP cannot."""
    traces = make(langfuse)
    await run(traces, claim(message="half \ud83d of it", user_id="\ud83d"))
    await traces.close()
    assert names(langfuse) == NAMES
    assert langfuse.holds("half ? of it")


async def test_without_contents_nothing_is_sent_that_is_not_known_to_hold_none(make: MakeTracing, otlp: Sink) -> None:
    """Also what an agent's own code puts into its spans."""
    traces = make(otlp=otlp, trace_content="off")
    spans, said = traces._spans, "the customer's words"
    assert spans
    with spans.tracer.start_as_current_span("own") as own:
        own.add_event(f"saw {said}", {"what": said})
        own.add_link(own.get_span_context(), {"why": said})
        own.set_attribute("of_a_library_of_tomorrow", said)
        own.set_status(StatusCode.ERROR, said)
    await traces.close()
    (sent,) = otlp.spans()
    assert (sent.name, sent.failed, sent.said) == ("own", True, ""), "that it failed is structure"
    assert not otlp.holds(said)


async def test_what_cannot_be_cleaned_is_not_sent(langfuse: Sink) -> None:
    def broken(text: str) -> str:
        raise ValueError("a rule that breaks")

    given = Settings(_env_file=None, langfuse_public_key="p", langfuse_secret_key="s", LANGFUSE_HOST=langfuse.url)
    before = counted(provider.LANGFUSE)
    traces = Tracing(given, broken)
    await run(traces)
    await traces.close()
    LangfuseResourceManager.reset()
    assert langfuse.requests == []
    assert more(provider.LANGFUSE, before) == (0, 1, len(NAMES))


@pytest.mark.parametrize("trouble", ["refuses", "is away", "hangs"])
async def test_a_backend_in_trouble_is_counted_and_raises_nothing(
    make: MakeTracing, langfuse: Sink, otlp: Sink, trouble: str, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(tracing, "SHUTDOWN_S", 60)  # what a batch may take is bounded, and so is this
    monkeypatch.setattr(provider, "SEND_S", 0.2)
    langfuse.status = 401
    if trouble == "hangs":
        langfuse.hangs.set()
    before = counted(provider.LANGFUSE), counted(provider.OTLP)
    traces = make(f"http://127.0.0.1:{free_port()}" if trouble == "is away" else langfuse, otlp)
    await run(traces)
    await traces.close()
    assert more(provider.LANGFUSE, before[0]) == (0, 1, len(NAMES))
    assert more(provider.OTLP, before[1]) == (1, 0, 0), "the other backend has all"
    assert names(otlp) == NAMES
    said = [record for record in caplog.records if record.msg == "traces_not_sent"]
    assert [record.__dict__["backend"] for record in said] == ["langfuse"], "said once"
    assert said[0].__dict__["cause"]
    assert not caplog.text.count("Traceback")


async def test_it_is_said_when_a_backend_is_back(
    make: MakeTracing, langfuse: Sink, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setenv("LANGFUSE_FLUSH_INTERVAL", "0.05")
    traces = make(langfuse)
    langfuse.status = 401
    for _ in range(2):
        so_far = len(langfuse.requests)
        await run(traces)
        async with asyncio.timeout(30):
            while len(langfuse.requests) == so_far:
                await asyncio.sleep(0.01)
    langfuse.status = 200
    await run(traces)
    await traces.close()
    said = [record.msg for record in caplog.records if record.msg.startswith("traces_")]
    assert said == ["traces_not_sent", "traces_sent_again"]


async def test_a_queue_that_is_full_lets_go_of_the_oldest_and_counts_them(
    make: MakeTracing, langfuse: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "SHUTDOWN_S", 0.5)
    langfuse.hangs.set()
    before = counted(provider.LANGFUSE)
    traces = make(langfuse)
    batch = 512  # as the processor sends them: one is on its way, and hangs

    def ends_many(count: int) -> None:
        spans = traces._spans
        assert spans
        for number in range(count):
            spans.tracer.start_span(f"span {number}").end()

    ends_many(batch)
    async with asyncio.timeout(30):
        while not langfuse.requests:
            await asyncio.sleep(0.01)
    taken = len(langfuse.spans())
    ends_many(provider.MOST_WAITING + 100)
    assert more(provider.LANGFUSE, before) == (0, 0, batch - taken + 100)
    await traces.close()
    ended = batch + provider.MOST_WAITING + 100
    assert more(provider.LANGFUSE, before)[2] == ended, "what was left at the end is lost too"


async def test_what_a_run_leaves_open_is_ended_with_its_attempt(make: MakeTracing, langfuse: Sink) -> None:
    traces = make(langfuse)
    trace = traces.begin(claim())
    go = asyncio.Event()

    async def hold(_: str) -> str:
        await go.wait()
        return "late"

    with trace.within():
        callbacks = list(trace.callbacks())
        late = asyncio.create_task(RunnableLambda(hold).ainvoke("x", {"callbacks": callbacks}))
    while not callbacks[0]._calls:  # type: ignore[attr-defined]
        await asyncio.sleep(0.01)
    trace.end(None, None)
    go.set()
    assert await late == "late", "a run that goes on is not disturbed"
    await traces.close()
    assert sorted(span.name for span in langfuse.spans()) == ["attempt 1", "hold", "queue"], "and no root: it goes on"
    (open_one,) = (span for span in langfuse.spans() if span.name == "hold")
    assert open_one["langfuse.observation.level"] == "ERROR"


async def test_a_replayed_task_s_second_life_has_a_root_of_its_own(make: MakeTracing, langfuse: Sink) -> None:
    traces = make(langfuse)
    for fence, replays in ((1, 0), (2, 1)):
        trace = traces.begin(claim(fence=fence, replays=replays))
        trace.end(Settlement(task_id=TASK, fence=fence, kind="success", result="x"), Status.SUCCESS)
    await traces.close()
    roots = [span for span in langfuse.spans() if span.parent_id == ""]
    assert (len({span.span_id for span in roots}), len({span.trace_id for span in roots})) == (2, 1)


async def test_pictures_are_uploaded_nowhere(make: MakeTracing, langfuse: Sink) -> None:
    """Langfuse's SDK would take them out of spans and send them by itself, past all that is taken out of spans."""
    picture = f"data:image/png;base64,{'A' * 400}"
    traces = make(langfuse)
    await run(traces, claim(message=picture))
    await traces.close()
    assert {request.path for request in langfuse.requests} == {"/api/public/otel/v1/traces"}
    assert picture in json.dumps([span["langfuse.observation.input"] for span in langfuse.spans()])


@pytest.mark.parametrize(
    "given", [{}, {"langfuse_public_key": "pk-lf-only"}, {"langfuse_secret_key": "sk-lf-only"}], ids=str
)
async def test_without_keys_it_is_off_and_says_so_once(
    make: MakeTracing, given: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    traces = make(**given)
    for _ in range(3):
        trace = traces.begin(claim())
        assert trace is NOT_TRACED
        assert list(trace.callbacks()) == []
        assert trace.steps(print) is print
        with trace.within():
            pass
        trace.end(None, None)
    said = [record for record in caplog.records if record.msg == "tracing_off"]
    assert len(said) == 1
    assert (said[0].levelname == "WARNING") == bool(given), "one key alone is a mistake"


async def test_off_it_loads_nothing() -> None:
    code = (
        "import sys\n"
        "from core_config import Settings\n"
        "from monitoring.tracing import Tracing\n"
        "import worker.engine, worker.executor\n"
        "Tracing(Settings(_env_file=None), str)\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('langfuse', 'opentelemetry')])"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert out.decode().strip() == "[]"
