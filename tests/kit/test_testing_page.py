"""docs/testing.md: its example is a project of somebody's own, and its tests pass."""

import os
import re
import subprocess
import sys
from pathlib import Path

from core_config import ROOT

PAGE = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```\w+\n# (\S+)\n(.*?)```", PAGE, re.DOTALL))
"""By name, the files of the page's project."""


def test_the_pages_project_passes(tmp_path: Path) -> None:
    assert {"pyproject.toml", "conftest.py", "agents.toml"} < FILES.keys()
    for name, text in FILES.items():
        (tmp_path / name).write_text(text.replace("/path/to/longhaul", str(ROOT)), encoding="utf-8")
    # A developer's environment, which must not reach the tests.
    environment = {
        **os.environ,
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "ACTIVE_MODEL_KEY": "DeepSeek-V3",
        "DEEPSEEK_API_KEY": "a" * 40,
        "AGENT_MAX_ITERATIONS": "1",
    }
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:valkey", "-p", "no:schemathesis", "-W", "error"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    tests = "".join(FILES.values()).count("def test_")
    assert f"{tests} passed" in ran.stdout.splitlines()[-1], ran.stdout + ran.stderr
