"""Texts that a model wrote, as Redis and JSON take them."""


def encoded(text: str) -> bytes:
    """UTF-8 of a text that a model wrote: unpaired surrogates, which no encoding takes, become question marks."""
    return text.encode("utf-8", "replace")


def clean(text: str) -> str:
    return encoded(text).decode()
