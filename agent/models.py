"""Models of the registry as LangChain chat models: LiteLLM underneath, every call made once, bounded and metered."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.tool import tool_call
from langchain_core.outputs import ChatResult
from langchain_core.runnables import Runnable
from pydantic import PrivateAttr

from agent.errors import AgentError, ErrorCode, translate
from agent.meter import TokenUsage
from agent.quiet_litellm import ChatLiteLLM, litellm
from agent.run_context import StepEvent, current_run, cut, is_cancelled
from agent.streaming import streamed, to_its_end
from agent.transport import EXCHANGE, Exchange, ProviderTransport, provider_client
from agent.typed_output import as_sent
from core_config import ModelConfig, Settings, api_key_of

NO_KEY = "none-needed"
"""Sent to servers that want no key: litellm insists on one, and would else take OPENAI_API_KEY to them."""


class RegistryModel(ChatLiteLLM):
    """A model of the registry. Its calls raise AgentError or CancelledError and nothing else."""

    _key: str = PrivateAttr()
    _config: ModelConfig = PrivateAttr()
    _seconds: float = PrivateAttr()

    @classmethod
    def of(cls, key: str, config: ModelConfig, settings: Settings, transport: ProviderTransport) -> "RegistryModel":
        """The model called `key`. Raises AgentError when it needs a key that is not set."""
        api_key = api_key_of(config)
        if config.api_key_env and api_key is None:
            raise AgentError(
                ErrorCode.PROVIDER_AUTH, f"Model {key} needs an API key: {config.api_key_env} is not set at the worker."
            )
        model = cls(
            model=config.litellm_id,
            api_base=config.base_url,
            api_key=api_key or NO_KEY,
            max_tokens=min(settings.max_tokens_per_request, config.max_tokens_limit),
            # A wait for each byte. The whole call is bounded in _agenerate, which a slow drip can't stretch.
            request_timeout=settings.model_timeout_seconds,
            disable_streaming=True,  # code that asks for a stream gets one piece, which has passed the edge below
            # litellm's own retries; langchain-litellm's are out of the way in acompletion_with_retry.
            model_kwargs={**config.params, "max_retries": 0, "client": provider_client(transport)},
        )
        model._key, model._config, model._seconds = key, config, settings.model_timeout_seconds
        return model

    @property
    def key(self) -> str:
        """Its name in the registry."""
        return self._key

    def bind_tools(self, tools: Sequence[Any], tool_choice: Any = None, **kwargs: Any) -> Runnable[Any, AIMessage]:
        sent, choice = as_sent(tools, tool_choice)
        return super().bind_tools(sent, choice, **kwargs)

    def with_retry(self, **_: Any) -> "RegistryModel":
        """Itself: the queue retries. LangChain's SummarizationMiddleware would make each call three times."""
        return self

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        stream: bool | None = None,  # noqa: ARG002  what the run's reader wants counts, not what the code asks for
        **kwargs: Any,
    ) -> ChatResult:
        """One call. This is its edge: LangChain runs it in a task of its own, and what leaves that as SystemExit
        would end the event loop, so every exception is caught here and not further out.
        """
        run = current_run()
        # Counted here and not in LangChain's ModelCallLimitMiddleware: its two more nodes a turn cost a fifth of a run.
        if run.call_limit is not None and run.model_calls >= run.call_limit:
            raise AgentError(ErrorCode.MAX_ITERATIONS, f"The agent had no answer after {run.call_limit} model calls.")
        run.model_calls += 1
        run.meter.model_calls += 1
        number = run.next_step()
        run.tell(StepEvent(kind="model", phase="start", number=number, name=self._key))
        exchange = Exchange()
        EXCHANGE.set(exchange)
        started = time.monotonic()
        answer: AIMessage | None = None
        code: str | None = None
        wait: float | None = None
        usage, cost = TokenUsage(), None
        try:
            async with asyncio.timeout(self._seconds):
                if run.on_token is None:
                    result = await super()._agenerate(messages, stop, run_manager, stream=False, **kwargs)
                else:
                    result = await streamed(
                        self._astream(messages, stop, run_manager, **kwargs), partial(run.tell_token, number)
                    )
            answer = _answer(result)
            usage, cost = _usage(answer), self._cost(answer)
            answer.response_metadata["longhaul"] = {"registry_key": self._key, "cost_usd": cost}  # for traces
            run.meter.answered(
                model=self._key, simulated=self._config.simulated, usage=usage, cost_usd=cost, text=answer.text
            )
            _accept_tool_calls(answer, self._key)
        except AgentError as error:
            code = error.code
            raise
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and is_cancelled():
                code = "cancelled"
                raise
            failure = translate(error, model=self._key, answered=exchange.answered, begun=exchange.begun)
            code, wait = failure.code, failure.retry_after
            raise failure from error
        else:
            return result
        finally:
            run.tell(
                StepEvent(
                    kind="model",
                    phase="end",
                    number=number,
                    name=self._key,
                    result=cut(answer.text) if answer else None,
                    error=code,
                    duration_ms=(time.monotonic() - started) * 1000,
                    retry_after=wait,
                    usage=usage,
                    cost_usd=cost,
                )
            )

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        """Blocking calls would pass by the edge, and wait in threads that asynchronous calls need to end."""
        raise AgentError(
            ErrorCode.AGENT_FAILED,
            "The agent's own code calls its model in a blocking way; write `await model.ainvoke(...)` in an async def.",
        )

    async def acompletion_with_retry(
        self,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002  the name is langchain-litellm's
        **kwargs: Any,
    ) -> Any:
        """One request: the queue retries, and to build langchain-litellm's retry costs 5 % of a call."""
        answer = await litellm.acompletion(**kwargs)
        return to_its_end(answer) if kwargs.get("stream") else answer

    def _cost(self, answer: AIMessage) -> float | None:
        """USD: by the registry's prices, else as LiteLLM computed it; None when neither knows."""
        usage = _usage(answer)
        cost = self._config.cost(usage.prompt_tokens, usage.completion_tokens)
        if usage.total_tokens == 0 and self._config.cost(1, 1) != 0.0:
            return None  # the provider reported no usage, which makes every price times it a false zero
        return answer.response_metadata.get("response_cost") if cost is None else cost


def _answer(result: ChatResult) -> AIMessage:
    message = result.generations[0].message
    if not isinstance(message, AIMessage):
        raise AgentError(ErrorCode.PROVIDER_BAD_RESPONSE)
    message.response_metadata.update(result.generations[0].generation_info or {})
    return message


def _usage(answer: AIMessage) -> TokenUsage:
    told = answer.usage_metadata
    if told is None:
        return TokenUsage()
    return TokenUsage(
        prompt_tokens=told["input_tokens"],
        completion_tokens=told["output_tokens"],
        total_tokens=told["total_tokens"],
        cached_tokens=told.get("input_token_details", {}).get("cache_read") or 0,
        reasoning_tokens=told.get("output_token_details", {}).get("reasoning") or 0,
    )


def _accept_tool_calls(answer: AIMessage, key: str) -> None:
    """Refuses calls whose arguments are no JSON: unanswered, they would make the next request invalid.

    No arguments at all is what some servers write for a tool that takes none.
    """
    if not answer.invalid_tool_calls:
        return
    cut_off = answer.response_metadata.get("finish_reason") == "length"
    for call in answer.invalid_tool_calls:
        if (call.get("args") or "").strip() or not call.get("name"):
            code = ErrorCode.ANSWER_TRUNCATED if cut_off else ErrorCode.PROVIDER_BAD_RESPONSE
            raise AgentError(code, f"{code.meaning} (model {key}, arguments of a tool call)")
    answer.tool_calls += [
        tool_call(name=call["name"] or "", args={}, id=call["id"]) for call in answer.invalid_tool_calls
    ]
    answer.invalid_tool_calls = []
