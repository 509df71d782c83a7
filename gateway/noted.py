"""What becomes known of a request on its way in, and the edge counts when it has ended."""

from dataclasses import dataclass

from starlette.types import Scope

from .kinds import Kind

_KEY = "longhaul.noted"


@dataclass(slots=True)
class Noted:
    kind: Kind | None = None
    """When the route alone does not tell."""
    model: str = ""
    """Of the task that it submitted, by its name in the registry."""
    problem: str = ""
    """The code of the problem that it was answered with."""


def noted_of(scope: Scope) -> Noted:
    """The request's; the same one wherever its scope goes."""
    noted: Noted = scope.setdefault(_KEY, Noted())
    return noted
