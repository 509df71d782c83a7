"""Why a run failed: a closed list of codes, and the one place that turns a provider's error into one of them.

    AgentError          what `AgentRunner.run` raises: code, a sentence for clients, transient or not
        RefusedError    an agent's own code says that the task cannot be done
        TryAgainError   an agent's own code says that another attempt may do it
    UnavailableError    an agent cannot be built; for the operator

A provider's error is told by its HTTP status and body, found in the chain of exceptions: by their class alone an
empty account, blocked content and a retired model are all litellm's BadRequestError. What the provider wrote goes
to the log as the cause, never to the client.
"""

import json
import re
from email.utils import parsedate_to_datetime
from enum import StrEnum
from time import time
from typing import Final, Self

import httpx


class ErrorCode(StrEnum):
    """Each code, with what it tells the client and whether another attempt may end better."""

    transient: bool
    meaning: str

    def __new__(cls, code: str, transient: bool, meaning: str) -> Self:
        member = str.__new__(cls, code)
        member._value_ = code
        member.transient = transient
        member.meaning = meaning
        return member

    MAX_ITERATIONS = "max_iterations", False, "The agent made as many model calls as one task may and had no answer."
    PROVIDER_AUTH = "provider_auth", False, "The model's provider refused the API key, or none is set."
    PROVIDER_NO_BALANCE = "provider_no_balance", False, "The account at the model's provider has no credit left."
    PROVIDER_RATE_LIMITED = "provider_rate_limited", True, "The model's provider limits the rate of requests."
    PROVIDER_UNAVAILABLE = "provider_unavailable", True, "The model's provider has a fault or cannot be reached."
    PROVIDER_TIMEOUT = "provider_timeout", True, "The model did not answer in time."
    PROVIDER_BAD_RESPONSE = "provider_bad_response", True, "The model's provider sent an answer that cannot be read."
    PROVIDER_BAD_REQUEST = "provider_bad_request", False, "The model's provider refused the request as invalid."
    MODEL_UNAVAILABLE = "model_unavailable", False, "The model is unknown or retired, or the account may not use it."
    CONTENT_BLOCKED = "content_blocked", False, "The provider's content filter blocked the request or the answer."
    CONTEXT_TOO_LONG = "context_too_long", False, "The message and its history are too long for the model."
    EMPTY_ANSWER = "empty_answer", True, "The model ended without an answer."
    ANSWER_TRUNCATED = "answer_truncated", False, "The answer reached the limit of tokens and is cut off."
    INVALID_OUTPUT = "invalid_output", False, "The answer does not satisfy the task's output_schema."
    AGENT_UNKNOWN = "agent_unknown", False, "No agent of that name is installed."
    TOOL_OUTCOME_UNKNOWN = (
        "tool_outcome_unknown",
        False,
        "A tool that may not run twice was cut off: it may have done it.",
    )
    AGENT_UNAVAILABLE = "agent_unavailable", True, "The agent cannot run on this worker, whose log says why."
    AGENT_FAILED = "agent_failed", False, "The agent's own code raised an exception, which the worker's log has."
    AGENT_REFUSED = "agent_refused", False, "The agent's own code refused the task, and says why."
    AGENT_TRY_AGAIN = "agent_try_again", True, "The agent's own code asked for another attempt, and says why."
    INVALID_AGENT_ANSWER = "invalid_agent_answer", False, "The agent's own code answered with no text and no JSON."
    INTERNAL = "internal", False, "The agent failed because of an error in Longhaul or in one of its tools."


class AgentError(Exception):
    """A run that ends without an answer. `detail` is safe for clients; the cause, if any, is for the log only."""

    def __init__(self, code: ErrorCode, detail: str | None = None, *, retry_after: float | None = None) -> None:
        self.code: str = code.value
        self.detail = detail or code.meaning
        self.transient = code.transient
        self.retry_after = retry_after
        """Seconds that the provider asked to wait."""
        super().__init__(f"{self.code}: {self.detail}")


class RefusedError(AgentError):
    """For an agent's own code to raise: the task fails with `agent_refused`. The client reads `detail`."""

    def __init__(self, detail: str) -> None:
        super().__init__(ErrorCode.AGENT_REFUSED, detail)


class TryAgainError(AgentError):
    """For an agent's own code to raise: the attempt fails with `agent_try_again` and the queue makes another, after
    `retry_after` seconds if they are given. The client reads `detail` when the attempts are used up.
    """

    def __init__(self, detail: str, *, retry_after: float | None = None) -> None:
        super().__init__(ErrorCode.AGENT_TRY_AGAIN, detail, retry_after=retry_after)


class UnavailableError(Exception):
    """An agent that cannot be built. The message is for the operator: place, problem and remedy."""


# Told by the `code`, `type` and `message` of an error body. The first that fits counts.
_WORDS: Final = {
    ErrorCode.PROVIDER_NO_BALANCE: r"insufficient[_ ](quota|balance|credit)|arrearage|exceeded your current quota"
    r"|credit balance is too low|billing_(hard_limit|not_active)|freetieronly|account is overdue",
    ErrorCode.CONTENT_BLOCKED: r"content exists risk|data_?inspection_?failed|content_(policy|filter|violation)"
    r"|inappropriate content",
    ErrorCode.CONTEXT_TOO_LONG: r"context_length_exceeded|maximum context length|context window|prompt is too long"
    r"|request_too_large|range of input length",
    ErrorCode.MODEL_UNAVAILABLE: r"model[_ ]?not[_ ]?(found|exist|supported)|unknown model|model\.accessdenied"
    r"|model[^.]{0,80}(does not exist|not found|not exist|deprecated|decommissioned|retired)",
    ErrorCode.PROVIDER_AUTH: r"invalid_?api_?key|api key not valid|incorrect api key",
}
_BY_WORDS: Final = [(re.compile(words, re.IGNORECASE), code) for code, words in _WORDS.items()]


def from_body(status: int, body: str) -> ErrorCode:
    """What an HTTP answer that is an error means."""
    # Only a refusal is told by its words: a broken server's page may hold any.
    if 400 <= status < 500:
        told = _words(body)
        for pattern, code in _BY_WORDS:
            if pattern.search(told):
                return code
    match status:
        case 401 | 403:
            return ErrorCode.PROVIDER_AUTH
        case 402:
            return ErrorCode.PROVIDER_NO_BALANCE
        case 404 | 410:
            return ErrorCode.MODEL_UNAVAILABLE
        case 408:
            return ErrorCode.PROVIDER_TIMEOUT
        case 413:
            return ErrorCode.CONTEXT_TOO_LONG
        case 429:
            return ErrorCode.PROVIDER_RATE_LIMITED
        case _ if status >= 500:
            return ErrorCode.PROVIDER_UNAVAILABLE
        case _ if status >= 400:
            return ErrorCode.PROVIDER_BAD_REQUEST
        case _:
            return ErrorCode.PROVIDER_BAD_RESPONSE


def _words(body: str) -> str:
    """The error's code, type and message: not the rest, where a provider may repeat what the user wrote."""
    try:
        document = json.loads(body)
    except ValueError:
        return body[:500]
    error = document.get("error", document) if isinstance(document, dict) else document
    if not isinstance(error, dict):
        return str(error)[:500]
    return " ".join(str(error.get(key, ""))[:500] for key in ("code", "type", "message"))


def translate(error: BaseException, *, model: str, answered: bool, begun: bool = False) -> AgentError:
    """The AgentError of whatever a model call raised. `begun`: its HTTP answer began, with a 2xx status; `answered`: it
    also came whole.
    """
    chain = causes(error)
    for link in chain:
        if isinstance(link, AgentError):
            return link
    for link in chain:
        if isinstance(link, httpx.HTTPStatusError):
            response = link.response
            code = from_body(response.status_code, _text(response))
            wait = retry_after(response.headers) if code.transient else None
            return AgentError(code, f"{code.meaning} (model {model}, HTTP {response.status_code})", retry_after=wait)
    code = _without_status(chain, answered=answered, begun=begun)
    return AgentError(code, f"{code.meaning} (model {model})")


def _without_status(chain: list[BaseException], *, answered: bool, begun: bool) -> ErrorCode:
    """No HTTP error arrived: the connection, the answer's form, or litellm before it sent anything."""
    if answered:
        return ErrorCode.PROVIDER_BAD_RESPONSE
    for link in chain:
        if isinstance(link, httpx.TimeoutException | TimeoutError):
            return ErrorCode.PROVIDER_TIMEOUT
        if isinstance(link, BrokenAnswerError):
            return ErrorCode.PROVIDER_BAD_RESPONSE
        if isinstance(link, httpx.TransportError | ConnectionError):
            return ErrorCode.PROVIDER_UNAVAILABLE
    status = getattr(chain[0], "status_code", None)
    # 500 and more is also what litellm says of its own faults, unless an answer was under way: an error in a stream.
    if type(chain[0]).__module__.startswith("litellm.") and isinstance(status, int) and (400 <= status < 500 or begun):
        return from_body(status, str(chain[0]))
    return ErrorCode.PROVIDER_BAD_RESPONSE if begun else ErrorCode.INTERNAL


class BrokenAnswerError(httpx.ReadError):
    """An answer that began and did not arrive whole."""


def causes(error: BaseException) -> list[BaseException]:
    """The error and what it was raised from, outermost first."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    return chain


def _text(response: httpx.Response) -> str:
    try:
        return response.text
    except httpx.ResponseNotRead:
        return ""


def retry_after(headers: httpx.Headers) -> float | None:
    """Seconds to wait, from `retry-after-ms` or `Retry-After` (seconds or a date); None when it says nothing usable."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or value is None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except ValueError:
        return None


def _number(value: str | None) -> float | None:
    if value is None or not re.fullmatch(r"\d{1,9}(\.\d{1,6})?", value.strip()):
        return None
    return float(value)
