"""Looks at everything that Longhaul needs on this machine, and says of each whether it is well, and else what to do.

It changes nothing, costs no model call, and works whether Longhaul runs or not. docs/doctor.md explains every check.

With --url it looks at another system from outside: it submits one task there and follows it to its end, WHICH COSTS ONE
MODEL CALL, and reads /health, /ready and /metrics. Its key comes from LONGHAUL_API_KEY, from a file (--key @FILE) or
from standard input (--key -). --key KEY works too, but then every user of this machine can read the key in the list
of processes, and the shell keeps it in its history.

Exit codes: 0 all is well, or there are warnings only; 1 a failure, or with --strict a warning.
"""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from core_config import keep_loopback_off_proxies
from longhaul_client.address import KEY_VARIABLE
from operations.argument_types import seconds
from operations.client import gateway, key_of
from operations.doctor_checks.finding import Finding, Level
from operations.errors import CommandError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--strict", action="store_true", help="warnings count as failures")
    parser.add_argument("--url", help="look at this gateway from outside; costs one model call there")
    parser.add_argument(
        "--key", metavar="KEY|@FILE|-", help="with --url: API key, the file that holds it, or - for stdin"
    )
    parser.add_argument(
        "--wait", type=seconds, default=60.0, metavar="SECONDS", help="with --url: how long the task may take (60)"
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.key and not arguments.url:
        raise CommandError("--key is for another system: give its --url too.", 2)
    keep_loopback_off_proxies()
    told: list[Finding] = []

    def tell(finding: Finding) -> None:
        told.append(finding)
        if not arguments.json:
            print(line(finding), flush=True)

    if arguments.url:
        _there(arguments.url, arguments.key, arguments.wait, tell)
    else:
        _here(tell)
    counts = Counter(finding.level for finding in told)
    failed = bool(counts[Level.FAILURE] or (arguments.strict and counts[Level.WARNING]))
    if arguments.json:
        print(json.dumps(report(told, failed=failed), indent=2, ensure_ascii=False))
    else:
        print(f"\n{_account(counts)} docs/doctor.md explains each line.")
    return int(failed)


def _here(tell: Callable[[Finding], None]) -> None:
    from operations.doctor_checks import examination, situation  # noqa: PLC0415  not for --url, nor for --help

    looked, of_settings = situation.look()
    findings = examination.examine(looked, examination.GROUPS, examination.WITHIN_SECONDS)
    for finding in examination.in_order([examination.shown(of_settings, looked.redact), *findings]):
        tell(finding)


def _there(url: str, given: str | None, wait_s: float, tell: Callable[[Finding], None]) -> None:
    from monitoring.redaction import Redactor  # noqa: PLC0415  as above
    from operations.doctor_checks import examination, remote  # noqa: PLC0415  as above

    key = None if given is None else key_of(given)
    redact = Redactor(filter(None, (key, os.environ.get(KEY_VARIABLE))))
    print(f"Submitting one task to {url}, which costs one model call there.", file=sys.stderr, flush=True)
    # what is tried again would be measured as slow, not told as failing
    with gateway(url, key, retry_for_s=0) as client:
        remote.examine(client, wait_s, lambda finding: tell(examination.shown(finding, redact)))


def line(finding: Finding) -> str:
    took = "" if finding.ms is None else f" ({finding.ms:.0f} ms)"
    first = f"{finding.level:<8} {finding.check:<18} {finding.says}{took}"
    return f"{first}\n{'':>28}{finding.remedy}" if finding.remedy else first


def report(findings: Iterable[Finding], *, failed: bool) -> dict[str, Any]:
    """For JSON: `took_ms` is null where nothing was timed, `remedy` where there is nothing to mend."""
    rows = [
        {
            "check": finding.check.value,
            "level": finding.level.value,
            "says": finding.says,
            "remedy": finding.remedy or None,
            "took_ms": None if finding.ms is None else round(finding.ms, 1),
        }
        for finding in findings
    ]
    return {"failed": failed, "findings": rows}


def _account(counts: Counter[Level]) -> str:
    parts = [
        f"{counts[level]} {level}{'s' if counts[level] != 1 else ''}"
        for level in (Level.FAILURE, Level.WARNING)
        if counts[level]
    ]
    return f"{', '.join([*parts, f'{counts[Level.OK]} ok'])}."
