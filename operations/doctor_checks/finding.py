"""What a check found: a name of the closed list below, how bad it is, what it is, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum

from operations.errors import CommandError


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    """It works, and not as one would want: something is off, slow, nearly full, or about to be lost."""
    FAILURE = "failure"
    """Tasks are not run, or not kept, or something that was set up does not work and will not by itself."""


class Check(StrEnum):
    """Every check, by its name in docs/doctor.md and in the order of the report."""

    PYTHON = "python"
    PACKAGES = "packages"
    SETTINGS = "settings"
    MISSPELT = "misspelt"
    SHADOWED = "shadowed"
    MODELS_FILE = "models-file"
    ACTIVE_MODEL = "active-model"
    PROVIDER_KEYS = "provider-keys"
    AGENTS_FILE = "agents-file"
    CALLERS = "callers"
    CORS = "cors"
    DATABASE = "database"
    REDIS = "redis"
    REDIS_VERSION = "redis-version"
    REDIS_ROLE = "redis-role"
    REDIS_EVICTION = "redis-eviction"
    REDIS_PERSISTENCE = "redis-persistence"
    REDIS_MEMORY = "redis-memory"
    REDIS_DISK = "redis-disk"
    REDIS_LATENCY = "redis-latency"
    CLOCK = "clock"
    KEY_PREFIX = "key-prefix"
    AUDIT = "audit"
    QUEUE = "queue"
    WORKERS = "workers"
    AGENTS = "agents"
    PROCESSES = "processes"
    IN_FORCE = "in-force"
    GATEWAY = "gateway"
    PORTS = "ports"
    DISK = "disk"
    LANGFUSE = "langfuse"
    TARGETS = "targets"
    REMOTE_HEALTH = "remote-health"
    REMOTE_READY = "remote-ready"
    REMOTE_SUBMIT = "remote-submit"
    REMOTE_TASK = "remote-task"
    REMOTE_METRICS = "remote-metrics"


@dataclass(frozen=True, slots=True)
class Finding:
    check: Check
    level: Level
    says: str
    remedy: str = ""
    """A command, a setting, or where to look. Only of what is not ok."""
    ms: float | None = None
    """How long it took, where that is of interest."""


def ok(check: Check, says: str, ms: float | None = None) -> Finding:
    return Finding(check, Level.OK, says, ms=ms)


def warning(check: Check, says: str, remedy: str, ms: float | None = None) -> Finding:
    return Finding(check, Level.WARNING, says, remedy, ms)


def failure(check: Check, says: str, remedy: str, ms: float | None = None) -> Finding:
    return Finding(check, Level.FAILURE, says, remedy, ms)


def refused(check: Check, error: CommandError, otherwise: str) -> Finding:
    """A failure in the words of a command that would refuse to go on. They end with the remedy, as their own sentence;
    `otherwise` is that of those that have none.
    """
    says, _, remedy = str(error).partition(". ")
    return failure(check, says.rstrip("."), remedy or otherwise)
