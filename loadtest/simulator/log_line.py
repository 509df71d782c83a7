"""The simulator's log lines, one an event, in the form of Longhaul's (docs/logs.md): a black box imports none of it."""

import json
import logging
import os
import time


class LogLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        event = record.getMessage()
        if not event.isprintable() or "=" in event or '"' in event:
            event = _quoted(event)
        line = f"{at} {record.levelname} simulator[{os.getpid()}] {record.name} {event}"
        if record.exc_info and record.exc_info[0] is not None:
            line += f" exception={_quoted(self.formatException(record.exc_info))}"
        return line


def _quoted(text: str) -> str:
    readable = json.dumps(text, ensure_ascii=False)
    return readable if readable.isprintable() else json.dumps(text)
