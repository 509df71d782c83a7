"""What this process would write into its log."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from core_config import Settings
from monitoring.logs import setup_logging

CANARY = "canary-value-of-a-secret"
SPOKEN = "spoken"
"""The loggers of these tests: gateways that other tests have left ending in this process write their own."""


class Written:
    def __init__(self, stream: io.StringIO, handler: logging.Handler) -> None:
        self._stream, self._handler = stream, handler

    def without_pytests(self) -> None:
        """pytest's own handlers, which it adds when a test begins, would let the test fail for a call that is wrong."""
        logging.getLogger().handlers[:] = [self._handler]

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @property
    def line(self) -> str:
        (line,) = self.lines
        return line

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    @property
    def object(self) -> dict[str, Any]:
        (one,) = self.objects
        return one


@pytest.fixture
def writing() -> Iterator[Callable[..., Written]]:
    """Sets up this process's log with secrets in its settings, and these settings besides."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def start(**settings: Any) -> Written:
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        handler.addFilter(logging.Filter(SPOKEN))
        chosen = Settings(
            _env_file=None,
            langfuse_secret_key=SecretStr(CANARY),
            redis_url="redis://user:p%40ssword-1@127.0.0.1:6379/0",
            api_keys="alice:" + "ab" * 32,
            **settings,
        )
        setup_logging(chosen, "gateway", ["provider-key-in-plain"], handler)
        return Written(stream, handler)

    yield start
    setup_logging(Settings(_env_file=None), "tests")  # its levels are those of everybody
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


@pytest.fixture(params=["line", "json"])
def written(request: pytest.FixtureRequest, writing: Callable[..., Written]) -> Written:
    """In each of the two forms."""
    return writing(log_format=request.param)
