"""The errors that a user is meant to read."""


class DataError(Exception):
    """The input or the place of the output does not allow the run: says what is wrong, where, and what to do.

    The message is one line: it crosses process borders as text inside a runner's own error.
    """


class OptionError(ValueError):
    """An option's value cannot be used: says which and why."""


class BadLineError(Exception):
    """A line that no record can hold; the argument is the reason to reject the record that it stands in."""
