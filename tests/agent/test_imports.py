"""What importing the agent does: nothing over the network, nothing on the terminal, no litellm for who needs none."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_package_and_its_contracts_load_no_llm_library() -> None:
    done = python(
        "import sys, agent, agent.errors, agent.meter, agent.work, core_config\n"
        "print([m for m in ('litellm', 'langchain_core', 'langchain', 'openai', 'tiktoken') if m in sys.modules])"
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_runner_loads_without_network_and_without_a_word() -> None:
    done = python(
        "import socket\n"
        "def refuse(*_, **__): raise SystemExit('the import wanted the network')\n"
        "socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse\n"
        "import agent.runner\n"
        "from agent.quiet_litellm import litellm\n"
        "assert litellm.telemetry is False\n"
        "assert 'redis' not in __import__('sys').modules\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
