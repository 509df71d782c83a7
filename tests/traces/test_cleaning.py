"""What is taken out of spans before they leave: secrets always, contents where they are not wanted."""

import pytest
from langfuse._client.resource_manager import LangfuseResourceManager
from opentelemetry.trace import StatusCode

from core_config import Settings
from monitoring.traces import provider
from monitoring.tracing import Tracing

from .exporting import (
    AWKWARD,
    LANGFUSE_SECRET,
    NAMES,
    SECRET,
    TOKEN,
    MakeTracing,
    claim,
    counted,
    more,
    names,
    run,
)  # fmt: skip
from .sink import Sink


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


async def test_half_a_surrogate_pair_keeps_nothing_from_being_sent(make: MakeTracing, langfuse: Sink) -> None:
    """JSON of a model can hold one; OTLP cannot."""
    traces = make(langfuse)
    await run(traces, claim(message="half \ud83d of it", user_id="\ud83d"))
    await traces.close()
    assert names(langfuse) == NAMES
    assert langfuse.holds("half ? of it")


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
