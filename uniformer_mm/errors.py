"""The error of a user's mistake, which tools show without a traceback, and its words."""

from collections.abc import Sequence

LONGEST_TEXT = 500
"""Letters of somebody's text in a message."""


class UserError(Exception):
    """Something the user can mend; the message names the value or file and the remedy."""


def printable(text: str, longest: int = LONGEST_TEXT) -> str:
    """What a message may show of a file's own text or name, which could steer a terminal."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text[:longest])
    return shown if len(text) <= longest else f"{shown}..."


def listing(errors: Sequence[Exception]) -> str:
    """One error a line, without what could steer a terminal."""
    return "\n".join(printable(str(error), LONGEST_TEXT * 4) for error in errors)
