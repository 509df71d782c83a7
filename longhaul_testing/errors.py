"""What goes wrong with the test kit itself, as opposed to what it tests."""


class NotStartedError(Exception):
    """A system that a test asked for does not come up. The message ends with what its processes said last."""


class NotFinalError(AssertionError):
    """A task did not end within the time that the test gave it. The message says how far it came."""
