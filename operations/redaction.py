"""Taking secrets out of what a command prints: texts of providers and servers hold keys now and then."""

from collections.abc import Callable, Mapping

from core_config import ModelConfig, Settings, api_key_of


def redactor(settings: Settings, models: Mapping[str, ModelConfig]) -> Callable[[str], str]:
    """`models` are those whose keys may turn up."""
    # here, for what it loads is no part of every command's start-up
    from monitoring.redaction import REDACTED, Redactor, secrets_of  # noqa: PLC0415

    keys = [key for key in map(api_key_of, models.values()) if key]
    known = Redactor([*keys, *secrets_of(settings)])

    def redact(text: str) -> str:
        for key in keys:  # a short one too: better a word too many taken out than a key left in
            text = text.replace(key, REDACTED)
        return known(text)

    return redact
