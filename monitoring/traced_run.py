"""Langfuse's handler of one run, whose exceptions hold no secret. Importing it loads Langfuse."""

from collections.abc import Callable
from typing import Any

from langfuse.langchain import CallbackHandler


class TracedRun(CallbackHandler):
    """An exception's text also becomes its span's status, which Langfuse's masks never see."""

    def __init__(self, trace_id: str, redact: Callable[[str], str]) -> None:
        super().__init__(trace_context={"trace_id": trace_id})
        self._redact_text = redact

    def on_chain_error(self, error: BaseException, *args: Any, **kwargs: Any) -> Any:
        return super().on_chain_error(self._without_secrets(error), *args, **kwargs)

    def on_llm_error(self, error: BaseException, *args: Any, **kwargs: Any) -> Any:
        return super().on_llm_error(self._without_secrets(error), *args, **kwargs)

    def on_tool_error(self, error: BaseException, *args: Any, **kwargs: Any) -> Any:
        return super().on_tool_error(self._without_secrets(error), *args, **kwargs)

    def on_retriever_error(self, error: BaseException, *args: Any, **kwargs: Any) -> Any:
        return super().on_retriever_error(self._without_secrets(error), *args, **kwargs)

    def _without_secrets(self, error: BaseException) -> BaseException:
        text = str(error)
        redacted = self._redact_text(text)
        return error if redacted == text else Exception(redacted)
