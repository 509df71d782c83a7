"""The one exception of the operator's commands."""


class CommandError(Exception):
    """What is wrong and what to do, for a person at a terminal; holds no secret. `code` is the exit code."""

    def __init__(self, sentence: str, code: int = 1) -> None:
        super().__init__(sentence)
        self.code = code
