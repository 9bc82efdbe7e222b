"""The error of a user's mistake, which tools show without a traceback, and its words."""

LONGEST_TEXT = 500
"""Letters of somebody's text in a message."""


class UserError(Exception):
    """Something the user can mend; the message names the value or file and the remedy."""


def printable(text: str) -> str:
    """What a message may show of a file's own text, which could steer a terminal."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text[:LONGEST_TEXT])
    return shown if len(text) <= LONGEST_TEXT else f"{shown}..."
