"""The error of a user's mistake, which tools show without a traceback, and its words."""

LONGEST_TEXT = 500
"""Characters of somebody's text in a message."""


class UserError(Exception):
    """Something the user can mend; the message names the value or file and the remedy."""

    def __str__(self) -> str:
        """The message without the control characters that names of files may have."""
        return "\n".join(map(_without_control, super().__str__().split("\n")))


def printable(text: str) -> str:
    """What a message may show of a file's own text, which could steer a terminal."""
    shown = _without_control(text[:LONGEST_TEXT])
    return shown if len(text) <= LONGEST_TEXT else f"{shown}..."


def _without_control(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "?" for character in text)
