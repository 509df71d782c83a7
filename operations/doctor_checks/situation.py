"""What every check goes by: the settings of now, and what `manage.py start` left word of under VAR_DIR."""

from collections.abc import Callable
from dataclasses import dataclass

from core_config import MODEL_REGISTRY, ConfigurationError, Settings, load_registry
from operations import agents, configuration, runstate
from operations.doctor_checks.finding import Check, Finding, ok, refused
from operations.errors import CommandError
from operations.redaction import redactor


@dataclass(frozen=True, slots=True)
class Situation:
    settings: Settings
    """With the default in the place of each that cannot be."""
    state: runstate.RunState | None
    """What a living supervisor runs."""
    left: runstate.RunState | None
    """What is on record of one that has ended."""
    redact: Callable[[str], str]

    @property
    def orphans(self) -> list[str]:
        """Names of processes that go on after their supervisor was killed."""
        left = self.left
        return [] if left is None else [one.name for one in left.processes if runstate.is_ours(one, left.token)]

    @property
    def redis_url(self) -> str | None:
        """None: it would be the private one, and nothing runs."""
        if self.state is not None and (self.state.redis_url or self.settings.redis_url):
            return agents.redis_url(self.settings, self.state)
        return self.settings.redis_url


def look() -> tuple[Situation, Finding]:
    """The situation, and what is to be said of the settings as such."""
    settings, finding = _settings()
    recorded = runstate.read(settings.var_dir)
    state = runstate.running(settings.var_dir)
    return Situation(settings, state, None if state else recorded, _redactor(settings)), finding


def _redactor(settings: Settings) -> Callable[[str], str]:
    try:
        registry = load_registry(settings)
    except ConfigurationError:
        registry = MODEL_REGISTRY
    try:
        return redactor(settings, registry)
    except ValueError:  # a `.env` that is no text has no keys, and a REDIS_URL that is no address no password
        return redactor(settings.model_copy(update={"redis_url": None}), {})


def _settings() -> tuple[Settings, Finding]:
    try:
        settings = configuration.load()
    except CommandError as error:
        found = refused(Check.SETTINGS, error, "Correct it in the environment or in .env.")
        return configuration.with_defaults(), found
    count = len(settings.model_fields_set)
    return settings, ok(Check.SETTINGS, f"all are valid; {count} of {len(Settings.model_fields)} are set")
