"""Every `error_code` that a task can end with: the closed list that clients may switch on. docs/error-codes.md
explains each one; a test holds the two together.
"""

from enum import StrEnum


class ErrorCode(StrEnum):
    # the agent's (agent/errors.py raises them)
    MAX_ITERATIONS = "max_iterations"
    PROVIDER_AUTH = "provider_auth"
    PROVIDER_NO_BALANCE = "provider_no_balance"
    PROVIDER_RATE_LIMITED = "provider_rate_limited"
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    PROVIDER_TIMEOUT = "provider_timeout"
    PROVIDER_BAD_RESPONSE = "provider_bad_response"
    PROVIDER_BAD_REQUEST = "provider_bad_request"
    MODEL_UNAVAILABLE = "model_unavailable"
    CONTENT_BLOCKED = "content_blocked"
    CONTEXT_TOO_LONG = "context_too_long"
    EMPTY_ANSWER = "empty_answer"
    ANSWER_TRUNCATED = "answer_truncated"
    INVALID_OUTPUT = "invalid_output"
    AGENT_UNKNOWN = "agent_unknown"
    TOOL_OUTCOME_UNKNOWN = "tool_outcome_unknown"
    AGENT_UNAVAILABLE = "agent_unavailable"
    AGENT_FAILED = "agent_failed"
    AGENT_REFUSED = "agent_refused"
    AGENT_TRY_AGAIN = "agent_try_again"
    INVALID_AGENT_ANSWER = "invalid_agent_answer"
    INTERNAL = "internal"
    # the worker's and the queue's
    OUTPUT_TOO_LARGE = "output_too_large"
    ATTEMPT_TIMEOUT = "attempt_timeout"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    WORKER_LOST = "worker_lost"
    CANCELLED = "cancelled"
