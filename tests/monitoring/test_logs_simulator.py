"""The simulator, which imports nothing of Longhaul, writes the same lines."""

import logging

import pytest

from core_config import Settings
from loadtest.simulator.log_line import LogLine
from monitoring.logs import LineFormatter, setup_logging


@pytest.mark.parametrize(
    "text", ["it failed on GET /v1", "a\n2026-11-21T00:00:00.000Z INFO forged", "x=y", '"', "\x9b31m", "é"]
)
def test_its_lines_are_those_of_everybody(text: str):
    try:
        raise ValueError(text)
    except ValueError as error:
        told = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("simulator", logging.ERROR, __file__, 1, "%s", (text,), told)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    handler = logging.NullHandler()
    try:
        setup_logging(Settings(_env_file=None), "simulator", handler=handler)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(capture=False)
    assert isinstance(handler.formatter, LineFormatter)
    line = LogLine().format(record)
    assert line.isprintable()
    assert line == handler.formatter.format(record)
