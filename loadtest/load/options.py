"""Options of the Locust file, each with an environment variable: Locust's own command line and manage.py give them."""

import math
from argparse import ArgumentTypeError
from typing import Any

WAYS = {
    "poll": (3, "submit, then ask every --poll-every seconds"),
    "wait": (3, "submit, then GET /task/{id}?wait=20"),
    "events": (1, "submit, then follow /task/{id}/events"),
    "stream": (1, "POST /chat/stream"),
    "chat": (2, "POST /chat"),
}
"""What users do: the default weight, and how."""


def add_options(parser: Any) -> None:
    """Adds ours to Locust's parser. A weight of 0 leaves that kind of user out."""

    def add(name: str, **more: Any) -> None:
        parser.add_argument(f"--{name}", env_var=f"LOAD_{name.upper().replace('-', '_')}", **more)

    for way, (weight, how) in WAYS.items():
        add(f"weight-{way}", type=_weight, default=weight, help=f"weight of users that {how} (default: {weight})")
    add("api-key", default="", is_secret=True, help="sent as Authorization: Bearer")
    add("message", default="Compute 6 * 7", help="what is asked (default: %(default)s)")
    add("model", default="", help="model that tasks name (default: none, the active one runs)")
    add("agent", default="", help="agent that tasks name (default: none)")
    add("poll-every", type=_seconds, default=1.0, help="seconds between two polls (default: %(default)s)")
    add(
        "pause", type=_seconds, default=1.0, help="seconds from an answer to the next question, on average (default: 1)"
    )
    add("task-timeout", type=_seconds, default=120.0, help="seconds until a task counts as lost (default: 120)")
    add("progress-every", type=_seconds, default=5.0, help="seconds between lines of progress, 0 for none (default: 5)")
    add("summary-file", default="", help="JSON file that gets the figures at the end")


def _weight(text: str) -> int:
    if not text.isdecimal() or int(text) > 1_000_000:
        raise ArgumentTypeError(f"expected a weight, an integer of 0 or more, got {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 86_400:
        raise ArgumentTypeError(f"expected a number of seconds from 0 to 86400, got {text!r}")
    return number
