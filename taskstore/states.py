"""A task's statuses and every way from one to another (DESIGN section 3). Pure: the scripts carry it out."""

from enum import StrEnum


class Status(StrEnum):
    """What a task is. What each status means stands here; `TRANSITIONS` says who moves a task out of it."""

    PENDING = "pending"
    """Ready, scheduled for later, or behind another task of its session. No worker holds it."""
    RUNNING = "running"
    """One worker holds its lease."""
    RETRYING = "retrying"
    """Its last attempt failed in passing, or its worker was lost; it waits for its next one. On the wire: `pending`."""
    WAITING = "waiting"
    """A person must decide; no worker is held."""
    SUCCESS = "success"
    """Final: `result` holds the answer."""
    FAILED = "failed"
    """Final, save for an operator's replay: `error_code` and `error` say why."""
    CANCELLED = "cancelled"
    """Final: somebody asked for it."""

    @property
    def is_final(self) -> bool:
        return self in FINAL


FINAL = frozenset({Status.SUCCESS, Status.FAILED, Status.CANCELLED})

_QUEUED = frozenset({Status.PENDING, Status.RETRYING})

# verb -> (from which statuses, to which statuses)
TRANSITIONS: dict[str, tuple[frozenset[Status], frozenset[Status]]] = {
    "claim": (_QUEUED, frozenset({Status.RUNNING})),
    "succeed": (frozenset({Status.RUNNING}), frozenset({Status.SUCCESS})),
    "fail": (frozenset({Status.RUNNING}), frozenset({Status.FAILED})),
    "retry": (frozenset({Status.RUNNING}), frozenset({Status.RETRYING, Status.FAILED, Status.CANCELLED})),
    "bury": (frozenset({Status.RUNNING}), frozenset({Status.FAILED})),
    "suspend": (frozenset({Status.RUNNING}), frozenset({Status.WAITING, Status.CANCELLED})),
    "release": (frozenset({Status.RUNNING}), frozenset({Status.PENDING, Status.CANCELLED})),
    "stop": (frozenset({Status.RUNNING}), frozenset({Status.CANCELLED})),
    "rescue": (frozenset({Status.RUNNING}), frozenset({Status.RETRYING, Status.FAILED, Status.CANCELLED})),
    "cancel": (_QUEUED | {Status.WAITING, Status.RUNNING}, frozenset({Status.CANCELLED, Status.RUNNING})),
    "expire": (_QUEUED | {Status.WAITING}, frozenset({Status.FAILED})),
    "decide": (frozenset({Status.WAITING}), frozenset({Status.PENDING})),
    "replay": (frozenset({Status.FAILED}), frozenset({Status.PENDING})),
}
"""`stop` is a worker carrying out a cancel that was requested while the task ran; a cancel of a running task leaves it
running, with the request in a field."""
