"""What kind of work each route is, for the metrics: polls, waits and probes are not to drown what people wait for."""

from typing import Final, Literal

Kind = Literal["submit", "chat", "poll", "wait", "stream", "act", "probe", "other"]

KINDS: Final[dict[tuple[str, str], Kind]] = {
    ("POST", "/task"): "submit",
    ("POST", "/chat"): "chat",
    ("POST", "/chat/stream"): "stream",
    ("GET", "/task/{task_id}"): "poll",  # `wait` when it waits: the route says so
    ("GET", "/task/{task_id}/events"): "stream",
    ("POST", "/task/{task_id}/cancel"): "act",
    ("POST", "/task/{task_id}/replay"): "act",
    ("POST", "/task/{task_id}/watch-token"): "other",
    ("GET", "/tasks"): "other",
    ("GET", "/session/{session_id}"): "other",
    ("DELETE", "/session/{session_id}"): "act",
    ("GET", "/sessions"): "other",
    ("GET", "/models"): "other",
    ("GET", "/agents"): "other",
    ("GET", "/health"): "probe",
    ("GET", "/healthz"): "probe",
    ("GET", "/ready"): "probe",
    ("GET", "/readiness"): "probe",
    ("GET", "/metrics"): "probe",
}
"""By method and template. What no route takes is `other`."""


def kind_of(method: str, endpoint: str) -> Kind:
    return KINDS.get((method, endpoint), "other")
