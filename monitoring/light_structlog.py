"""The door to structlog: imports it without rich and greenlet.

structlog imports both if they are there, for renderers and threads that are not used here. They would make up most of
what a gateway pays for structlog.
"""

import sys

_NOT_NEEDED = [name for name in ("rich", "greenlet") if name not in sys.modules]
sys.modules.update(dict.fromkeys(_NOT_NEEDED))  # type: ignore[arg-type]  # None: an import of it fails
try:
    import structlog
finally:
    for _name in _NOT_NEEDED:
        del sys.modules[_name]

__all__ = ["structlog"]
