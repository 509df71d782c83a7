"""Processes that count, each in the directory that it is given."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from core_config import ROOT
from monitoring.sharing import MULTIPROC_DIR

StartCounting = Callable[..., "CountingProcess"]


class CountingProcess:
    def __init__(self, log: Path, environment: dict[str, str]) -> None:
        self._log = log
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.monitoring.metrics.counting"],
                cwd=ROOT, env={**os.environ, **environment}, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=errors,
            )  # fmt: skip

    def ask(self, *words: object) -> str:
        """Its answer; empty when it has died."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def said(self) -> str:
        return self._log.read_text()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def start_counting(tmp_path: Path) -> Iterator[StartCounting]:
    """In `tmp_path / "counts"`, unless another directory is named; all are ended."""
    started: list[CountingProcess] = []

    def start(directory: Path | None = None) -> CountingProcess:
        folder = str(directory or tmp_path / "counts")
        log = tmp_path / f"counting-{len(started)}.log"
        started.append(CountingProcess(log, {MULTIPROC_DIR: folder}))
        return started[-1]

    yield start
    for one in started:
        one.close()


def samples_of(page: str) -> dict[tuple[Any, ...], float]:
    """By name and label values, in the order of the labels' names; without buckets."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if not sample.name.endswith("_bucket")
    }
