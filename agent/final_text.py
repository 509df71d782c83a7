"""The text that a run ends with, if the model wrote it and meant it as the whole answer."""

from langchain_core.messages import AIMessage, BaseMessage

from agent.errors import AgentError, ErrorCode


def final_text(message: BaseMessage, model: str) -> str:
    """Raises AgentError: answer_truncated, content_blocked, empty_answer."""
    if not isinstance(message, AIMessage):
        raise AgentError(ErrorCode.EMPTY_ANSWER)
    refuse_unfinished(message, model)
    text = message.text.strip()
    if not text:
        raise AgentError(ErrorCode.EMPTY_ANSWER, f"{ErrorCode.EMPTY_ANSWER.meaning} (model {model})")
    return text


def refuse_unfinished(message: AIMessage, model: str) -> None:
    """Raises AgentError when the provider says that it ended the answer, and not the model."""
    match message.response_metadata.get("finish_reason"):
        case "length" | "max_tokens":
            raise AgentError(ErrorCode.ANSWER_TRUNCATED, f"{ErrorCode.ANSWER_TRUNCATED.meaning} (model {model})")
        case "content_filter":
            raise AgentError(ErrorCode.CONTENT_BLOCKED, f"{ErrorCode.CONTENT_BLOCKED.meaning} (model {model})")
