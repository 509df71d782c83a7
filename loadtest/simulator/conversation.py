"""A view of a request's messages: this turn begins at the last user message."""

from dataclasses import dataclass

from loadtest.simulator.request import Message


@dataclass(frozen=True, slots=True)
class ToolResult:
    tool: str
    content: str


class Conversation:
    def __init__(self, messages: list[Message]) -> None:
        self.messages = messages
        self._asked_at = max((i for i, message in enumerate(messages) if message.role == "user"), default=-1)

    @property
    def question(self) -> str:
        """The last user message, with its directives."""
        return self.messages[self._asked_at].text if self._asked_at >= 0 else ""

    @property
    def earlier(self) -> list[str]:
        """What the user said before, oldest first, with directives."""
        return [message.text for message in self.messages[: max(self._asked_at, 0)] if message.role == "user"]

    @property
    def step(self) -> int:
        """Which model call of the turn this is, from 1."""
        return 1 + sum(message.role == "assistant" for message in self.messages[self._asked_at + 1 :])

    def results(self) -> list[ToolResult]:
        """The turn's tool messages, in the order of the conversation, each with the name of its tool."""
        names: dict[str, str] = {}
        found = []
        for message in self.messages[self._asked_at + 1 :]:
            names.update((call.id, call.name) for call in message.calls)
            if message.answers is not None:
                found.append(ToolResult(names[message.answers], message.text))
        return found
