"""Fallbacks inside an attempt: a model call that fails goes to the next model of the registry's `fallbacks`.

The going on is LangChain's ModelFallbackMiddleware. Here is only what it leaves open: which errors go on, that a model
which failed is not asked again in the same run, and which error the run ends with when none answered.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from langchain.agents.middleware import ModelFallbackMiddleware
from langchain.agents.middleware.types import ModelRequest
from langgraph.errors import GraphBubbleUp

from agent.errors import AgentError, ErrorCode
from agent.models import RegistryModel
from agent.run_context import current_run
from core_config import ModelConfig

FALLS_BACK: Final = frozenset({
    ErrorCode.PROVIDER_RATE_LIMITED,
    ErrorCode.PROVIDER_UNAVAILABLE,
    ErrorCode.PROVIDER_TIMEOUT,
    ErrorCode.PROVIDER_BAD_RESPONSE,
    ErrorCode.PROVIDER_NO_BALANCE,
    ErrorCode.PROVIDER_AUTH,
    ErrorCode.MODEL_UNAVAILABLE,
})  # fmt: skip
"""What the provider or the account is to blame for. What the request is to blame for (form, content, length) would
fail elsewhere too, or should: blocked content is not taken from provider to provider.
"""


def chain_of(key: str, registry: Mapping[str, ModelConfig], avoid: Sequence[str]) -> list[str]:
    """The models to call in turn: its own and its `fallbacks`, without those to avoid; all of them if that is none.

    A fallback's own fallbacks are not followed.
    """
    config = registry.get(key)
    chain = [key, *(other for other in (config.fallbacks if config else ()) if other != key)]
    return [one for one in chain if one not in avoid] or chain


class _PassedOverError(Exception):
    """The model failed before in this run."""


class _GoesNoFurther(GraphBubbleUp):
    """Carries an error that no other model is asked about: the one kind that ModelFallbackMiddleware lets through."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__()


class Fallbacks(ModelFallbackMiddleware[Any, Any]):
    """After the agent's model, `models` in turn; shared by all runs, so what it knows of one is in the run."""

    def __init__(self, models: Sequence[RegistryModel]) -> None:
        super().__init__(*models)
        self.keys = [model.key for model in models]

    async def awrap_model_call(self, request: ModelRequest[Any], handler: Callable[..., Awaitable[Any]]) -> Any:
        """Raises the run's first failure in passing if there was one, for then another attempt may end better; else
        its first of all.
        """
        failed = current_run().failed_models

        async def once(request: ModelRequest[Any]) -> Any:
            key = request.model.key if isinstance(request.model, RegistryModel) else ""
            if key in failed:
                raise _PassedOverError
            try:
                return await handler(request)
            except AgentError as error:
                if error.code not in FALLS_BACK:
                    raise _GoesNoFurther(error) from error
                failed[key] = error
                raise
            except Exception as error:
                raise _GoesNoFurther(error) from error

        try:
            return await super().awrap_model_call(request, once)
        except _GoesNoFurther as carrier:
            raise carrier.error from carrier.error.__cause__
        except (AgentError, _PassedOverError):
            told = list(failed.values())
            raise next((error for error in told if error.transient), told[0]) from None
