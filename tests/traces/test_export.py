"""What leaves a process, to whom, and what becomes of tracing when nobody takes it: real spans, real HTTP."""

import asyncio
import json
import sys

import pytest
from langchain_core.runnables import RunnableLambda

from monitoring import tracing
from monitoring.traces import export, provider
from monitoring.traces.trace import NOT_TRACED
from taskstore.claims import Settlement
from taskstore.states import Status
from tests.conftest import free_port

from .exporting import NAMES, TASK, TOKEN, MakeTracing, claim, counted, more, names, run
from .sink import Sink


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


@pytest.mark.parametrize("trouble", ["refuses", "is away", "hangs"])
async def test_a_backend_in_trouble_is_counted_and_raises_nothing(
    make: MakeTracing, langfuse: Sink, otlp: Sink, trouble: str, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(tracing, "SHUTDOWN_S", 60)  # what a batch may take is bounded, and so is this
    monkeypatch.setattr(provider, "SEND_S", 2.0)  # of a busy machine too, for the backend that answers
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


async def test_one_that_hangs_at_the_end_holds_up_no_other(
    make: MakeTracing, langfuse: Sink, otlp: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "SHUTDOWN_S", 120)
    monkeypatch.setattr(provider, "SEND_S", 120)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")  # ms: nothing is sent but because of the end
    langfuse.hangs.set()
    traces = make(langfuse, otlp)
    await run(traces)
    closing = asyncio.create_task(traces.close())
    async with asyncio.timeout(25):  # in turn, the one that hangs would have had half a minute first
        while names(otlp) != NAMES:
            await asyncio.sleep(0.01)
    assert not closing.done()
    langfuse.hangs.clear()
    await closing
    assert names(langfuse) == NAMES


async def test_a_queue_that_is_full_lets_go_of_the_oldest_and_counts_them(
    make: MakeTracing, langfuse: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "SHUTDOWN_S", 0.5)
    monkeypatch.setattr(provider, "SEND_S", 120)  # nothing is given up while the queue fills, on a busy machine either
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
    async with asyncio.timeout(60):  # long before the batch that hangs is given up
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
