"""Prometheus's targets: whether what the files under VAR_DIR/prometheus name answers with metrics."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx

from operations.doctor_checks.finding import Check, Finding, ok, warning
from operations.doctor_checks.situation import Situation

ANSWER_SECONDS = 3.0


def find(situation: Situation) -> Iterator[Finding]:
    files = sorted((situation.settings.var_dir / "prometheus").glob("*.json"))
    if not files:
        yield ok(Check.TARGETS, "no targets files: manage.py start writes them")
        return
    for file in files:
        yield from _of_file(file, running=situation.state is not None)


def _of_file(file: Path, *, running: bool) -> Iterator[Finding]:
    try:
        targets = [str(target) for group in json.loads(file.read_text()) for target in group["targets"]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        yield warning(
            Check.TARGETS,
            f"{file} cannot be read as targets ({type(error).__name__})",
            "python3 manage.py restart writes it anew.",
        )
        return
    if not running:
        yield ok(Check.TARGETS, f"{file.name}: {len(targets)} targets, of a run that has ended")
        return
    silent = [(target, why) for target in targets if (why := _ask(target))]
    for target, why in silent:
        yield warning(
            Check.TARGETS,
            f"{file.name}: {target} gives no metrics ({why})",
            "python3 manage.py status says whether that process is up; restart writes the file anew.",
        )
    if not silent:
        yield ok(Check.TARGETS, f"{file.name}: {len(targets)} of {len(targets)} answer")


def _ask(target: str) -> str:
    """Why it gives none; empty when it does."""
    try:
        with httpx.Client(trust_env=False, timeout=ANSWER_SECONDS) as client:
            answer = client.get(f"http://{target}/metrics")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return str(error) or type(error).__name__
    if answer.status_code != httpx.codes.OK:
        return f"HTTP {answer.status_code}"
    return "" if "# TYPE " in answer.text else "no metrics page"
