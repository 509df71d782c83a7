"""Langfuse: whether it is on, answers, and takes the keys. Tasks run without it; only their traces would be lost."""

from collections.abc import Iterator

import httpx

from core_config import Settings
from operations.doctor_checks.finding import Check, Finding, failure, ok, warning
from operations.doctor_checks.situation import Situation

ANSWER_SECONDS = 3.0
_KEYS = "LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY"


def find(situation: Situation) -> Iterator[Finding]:
    settings = situation.settings
    public, secret = settings.langfuse_public_key, settings.langfuse_secret_key
    if public is None and secret is None:
        yield ok(Check.LANGFUSE, f"off: {_KEYS} are not set")
    elif public is None or secret is None:
        missing = "LANGFUSE_PUBLIC_KEY" if public is None else "LANGFUSE_SECRET_KEY"
        yield warning(Check.LANGFUSE, f"off: {missing} is not set", f"Set both of {_KEYS}, or neither.")
    else:
        yield _ask(settings, public, secret.get_secret_value())


def _ask(settings: Settings, public: str, secret: str) -> Finding:
    host = settings.langfuse_host.rstrip("/")
    try:
        # with the environment's proxies, as the workers go
        with httpx.Client(timeout=ANSWER_SECONDS) as client:
            answer = client.get(f"{host}/api/public/projects", auth=(public, secret))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return warning(
            Check.LANGFUSE,
            f"{host} does not answer ({str(error) or type(error).__name__}); traces are lost meanwhile, tasks run",
            "Correct LANGFUSE_HOST, let the proxy pass it (NO_PROXY), or start that server.",
        )
    ms = answer.elapsed.total_seconds() * 1000
    if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return failure(
            Check.LANGFUSE,
            f"{host} refuses the keys (HTTP {answer.status_code})",
            f"Correct {_KEYS}: those of one project, and of this host (each region of the cloud has its own).",
            ms,
        )
    if answer.status_code != httpx.codes.OK or (names := _projects(answer)) is None:
        return warning(
            Check.LANGFUSE,
            f"{host} answers {answer.status_code}, and not as Langfuse does; traces may be lost, tasks run",
            "Correct LANGFUSE_HOST: Langfuse's address without a path.",
            ms,
        )
    return ok(Check.LANGFUSE, f"{host} takes the keys, of project {names}", ms)


def _projects(answer: httpx.Response) -> str | None:
    try:
        return ", ".join(str(project["name"]) for project in answer.json()["data"])
    except (ValueError, KeyError, TypeError):
        return None
