"""The one exception that means "the input is wrong": its message is one sentence and the command line exits with 2."""


class InputError(ValueError):
    """Bad input. The message says what is wrong, what was expected and what to do, in one sentence."""
