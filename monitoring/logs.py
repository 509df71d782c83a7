"""Log lines: one line an event, in one of two forms, and no secret in any.

A call site says `log.info("started", extra={"address": ...})` with a logger of the standard library; structlog's own
loggers may be used too. structlog's ProcessorFormatter makes the same line of both, and of what libraries log.
"""

import logging
import sys
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from core_config import Settings

from .light_structlog import structlog
from .log_lines import Arranged, EventDict, Json, Line, own_fields
from .redaction import REDACTED, Redactor, secrets_of

__all__ = ["REDACTED", "Redactor", "log_what_ends_it", "secrets_of", "setup_logging"]

# They log every request or connection at INFO, or what we say ourselves (uvicorn's start and stop).
_CHATTY = ("uvicorn.error", "httpx", "httpcore", "openai", "LiteLLM", "asyncio", "urllib3")
_OURS = ("agent", "gateway", "monitoring", "operations", "taskstore", "worker")

log = logging.getLogger(__name__)


class LineFormatter(structlog.stdlib.ProcessorFormatter):
    """A call that no line can be made of (wrong arguments, a value whose `str` raises) becomes a line that says so."""

    def format(self, record: logging.LogRecord) -> str:
        try:
            return super().format(record) if hasattr(record, "_logger") else self._of_standard_logger(record)
        except Exception as error:  # noqa: BLE001  whatever a value's own code raises
            told = logging.makeLogRecord(
                {
                    "name": record.name,
                    "levelno": logging.ERROR,
                    "levelname": "ERROR",
                    "msg": "log_call_broken",
                    "template": record.msg if isinstance(record.msg, str) else type(record.msg).__name__,
                    "place": f"{record.pathname}:{record.lineno}",
                    "problem": type(error).__name__,
                }
            )
            return super().format(told)

    def _of_standard_logger(self, record: logging.LogRecord) -> str:
        """As structlog makes it, without the second record that it makes of each: nothing here changes the first."""
        event: EventDict = {"event": record.getMessage(), "_record": record, "_from_structlog": False}
        if record.exc_info:
            event["exc_info"] = record.exc_info
        if record.stack_info:
            event["stack_info"] = record.stack_info
        line: Any = own_fields(None, "", event)
        for processor in self.processors:
            line = processor(None, "", line)
        return str(line)


def setup_logging(
    settings: Settings, process: str, secrets: Iterable[str] = (), handler: logging.Handler | None = None
) -> Redactor:
    """Sends every logger's lines of this process to stderr, or to `handler`. Answers the redactor, for other texts.

    `process` names it (`gateway`, `worker`); `secrets` are more values to keep out, such as the providers' keys.
    """
    redact = Redactor([*secrets_of(settings), *secrets])
    handler = handler or logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        LineFormatter(
            foreign_pre_chain=[own_fields],
            processors=[
                structlog.processors.format_exc_info,
                Arranged(process),
                Json(redact) if settings.log_format == "json" else Line(redact),
            ],
        )
    )
    # no line shows these, and each costs a system call or a look around, for every line
    logging.logProcesses = logging.logThreads = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    _set_levels(root, settings)
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return redact


def _set_levels(root: logging.Logger, settings: Settings) -> None:
    """DEBUG lines of libraries hold prompts and answers: without LOG_CONTENT, DEBUG is for our own."""
    debug = settings.log_level == "DEBUG"
    root.setLevel("INFO" if debug and not settings.log_content else settings.log_level)
    for name in _OURS:
        logging.getLogger(name).setLevel(logging.DEBUG if debug else logging.NOTSET)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def log_what_ends_it() -> None:
    """An exception that ends this process or one of its threads is a line too, and not a traceback as it is: that may
    hold a secret. For a process's entry point, before anything else.
    """

    def ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            log.critical("process_broke", exc_info=(kind, error, trace))

    def thread_ended(about: threading.ExceptHookArgs) -> None:
        if about.exc_value is not None and about.exc_type is not SystemExit:
            name = about.thread.name if about.thread else ""
            exc_info = (about.exc_type, about.exc_value, about.exc_traceback)
            log.critical("thread_broke", extra={"thread_name": name}, exc_info=exc_info)

    sys.excepthook = ended
    threading.excepthook = thread_ended
