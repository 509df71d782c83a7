"""Ten thousand calls made from the API's own document, other ones each time: tests/edges has fewer, always the same."""

import os
import subprocess
import sys

from core_config import ROOT

CALLS = 10_000


def test_no_answer_is_outside_the_document(report):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/edges/test_openapi_document.py"],
        cwd=ROOT,
        env={**os.environ, "LONGHAUL_EDGE_CASES": str(CALLS)},
        capture_output=True,
        text=True,
    )
    well = done.returncode == 0
    report(f"{CALLS} calls made from the API's document: a 5xx, or an answer that it does not say", "none",
           "none" if well else "some", met=well)  # fmt: skip
    assert well, done.stdout + done.stderr
