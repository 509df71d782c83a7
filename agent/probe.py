"""One small call of a model, the way that every run calls it, and what was seen of it: for whoever wants to know why a
key does not work. What is here may hold a provider's words and a proxy's address: it is for the operator.
"""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

import httpx
from langchain_core.messages import AIMessage, HumanMessage

from agent.errors import AgentError, ErrorCode, causes
from agent.meter import Meter, TokenUsage
from agent.models import RegistryModel
from agent.proxies import proxy_for
from agent.run_context import CURRENT_RUN, Run
from agent.transport import ProviderTransport
from core_config import ModelConfig, Settings

QUESTION: Final = "Answer with the one word: yes"
MAX_KEPT_BYTES: Final = 4000
CUT: Final = frozenset({"length", "max_tokens"})


@dataclass(frozen=True, slots=True)
class Seen:
    """One call. `code` is None when the model answered."""

    code: str | None
    causes: tuple[BaseException, ...] = ()
    """What was raised, outermost first."""
    url: httpx.URL | None = None
    """Where the request was to go; None when none was made."""
    proxy: httpx.URL | None = None
    """The proxy that it was to go through."""
    status: int | None = None
    headers: httpx.Headers = field(default_factory=httpx.Headers)
    body: str = ""
    """The beginning of the answer."""
    latency_ms: float | None = None
    """From sending the request to the end of its answer; None when there was no answer."""
    usage: TokenUsage = field(default_factory=TokenUsage)
    cost_usd: float | None = None
    requests: int = 0


async def probe(key: str, config: ModelConfig, settings: Settings, *, seconds: float) -> Seen:
    """Asks the model called `key` one short question, within `seconds`. Raises CancelledError and nothing else.

    The request has the `max_tokens` of a real one: a limit that the provider refuses has to show, a model that thinks
    needs some, and the question keeps the answer short. A word is enough of an answer, also one that is cut off.
    """
    transport = _WatchingTransport()
    meter = Meter()
    token = CURRENT_RUN.set(Run(meter=meter, call_limit=1))
    code: str | None = None
    chain: list[BaseException] = []
    try:
        patient = settings.model_copy(update={"model_timeout_seconds": seconds})
        answer = await RegistryModel.of(key, config, patient, transport).ainvoke([HumanMessage(QUESTION)])
        code = _fault_of(answer)
    except AgentError as error:
        code, chain = error.code, causes(error)
    finally:
        CURRENT_RUN.reset(token)
        await transport.aclose()
    return transport.seen(code, chain, meter)


def _fault_of(answer: AIMessage) -> str | None:
    finish = answer.response_metadata.get("finish_reason")
    if finish == "content_filter":
        return ErrorCode.CONTENT_BLOCKED
    return None if answer.text.strip() or finish in CUT else ErrorCode.EMPTY_ANSWER


class _WatchingTransport(ProviderTransport):
    """Notes where the request went and what came back."""

    def __init__(self) -> None:
        super().__init__()
        self._requests: list[httpx.URL] = []
        self._response: httpx.Response | None = None
        self._stream: _KeptAnswer | None = None
        self._sent_at = 0.0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._requests.append(request.url)
        self._sent_at = time.monotonic()
        response = await super().handle_async_request(request)
        self._stream = _KeptAnswer(response)
        self._response = response
        return httpx.Response(
            response.status_code, headers=response.headers, stream=self._stream, extensions=response.extensions
        )

    def seen(self, code: str | None, chain: list[BaseException], meter: Meter) -> Seen:
        url = self._requests[0] if self._requests else None
        proxy = None if url is None else proxy_for(url)
        ended = None if self._stream is None else self._stream.ended_at
        return Seen(
            code=code,
            causes=tuple(chain),
            url=url,
            proxy=None if proxy is None else httpx.URL(proxy),
            status=None if self._response is None else self._response.status_code,
            headers=httpx.Headers() if self._response is None else self._response.headers,
            body="" if self._stream is None else self._stream.kept.decode("utf-8", "replace"),
            latency_ms=None if ended is None else (ended - self._sent_at) * 1000,
            usage=meter.usage,
            cost_usd=meter.cost_usd if meter.model else None,
            requests=len(self._requests),
        )


class _KeptAnswer(httpx.AsyncByteStream):
    """An answer whose beginning is kept, and when it ended."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.kept = b""
        self.ended_at: float | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._response.aiter_raw():
            self.kept += chunk[: MAX_KEPT_BYTES - len(self.kept)]
            yield chunk
        self.ended_at = time.monotonic()

    async def aclose(self) -> None:
        await self._response.aclose()
