"""How much of a session's earlier turns a run is given: as many of the last ones as fit, whole turns only."""

from typing import Final

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, trim_messages

from agent.work import Turn

BYTES_PER_TOKEN: Final = 3
"""Of UTF-8: about one Chinese character, or three letters where a tokenizer takes four. Too many tokens are counted
rather than too few, because a model refuses a request that is too long.
"""
TOKENS_PER_MESSAGE: Final = 4
SUMMARIZATION: Final = "summarization"
"""Middleware whose agent gets all turns: it shortens them in its own way."""


def trimmed(history: tuple[Turn, ...], most_tokens: int) -> tuple[Turn, ...]:
    """The last turns of `history` that have `most_tokens` together, beginning with a user's."""
    messages = messages_of_turns(history)
    kept = trim_messages(
        messages,
        max_tokens=most_tokens,
        token_counter=tokens_of,
        strategy="last",
        start_on="human",
        allow_partial=False,
    )
    return history[len(history) - len(kept) :]


def messages_of_turns(history: tuple[Turn, ...]) -> list[BaseMessage]:
    return [HumanMessage(turn.text) if turn.role == "user" else AIMessage(turn.text) for turn in history]


def tokens_of(message: BaseMessage) -> int:
    """About how many tokens it has; no model is asked."""
    return len(message.text.encode(errors="replace")) // BYTES_PER_TOKEN + TOKENS_PER_MESSAGE
