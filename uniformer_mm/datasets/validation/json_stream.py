"""Reading JSON files whose lists do not fit into memory."""

import gc
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

CHARACTERS = 1 << 23
"""Read from the file at a time."""

ENTRIES = 1 << 13
"""Entries of a list that are handed over at a time."""

BATCH = 1 << 16
"""Characters from which on many entries are decoded at once, which is faster."""

BOUNDARY = re.compile(r"\}[ \t\n\r]*,[ \t\n\r]*\{")
"""Between two objects of a list."""

SPACE = re.compile(r"[ \t\n\r]*")
SEPARATOR = re.compile(r"[ \t\n\r]*([,\]])[ \t\n\r]*")


def stream_json(path: str, lists: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Read the entries of the object in a JSON file, one after the other.

    Args:
        path: The file.
        lists: Names of entries whose lists come in pieces of at most `ENTRIES`, an empty list as
            one empty piece.

    Yields:
        Name and value; several times the same name for a list in pieces.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not JSON in UTF-8, or not an object.
    """
    with open(path, encoding="utf-8") as file, _without_garbage_collection():
        reader = _Reader(file)
        try:
            reader.take("{")
            while reader.next_character() != "}":
                name = reader.value()
                reader.take(":")
                if name in lists and reader.next_character() == "[":
                    for piece in reader.pieces():
                        yield name, piece
                else:
                    yield name, reader.value()
                if reader.next_character() != "}":
                    reader.take(",")
                    reader.expect('"')
            reader.take("}")
            reader.expect("")
        except json.JSONDecodeError as error:
            raise ValueError(f"{error.msg} at character {reader.start + error.pos}") from error


class _Reader:
    """Text of a file from which values are taken.

    Args:
        file: The file.
    """

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.text = ""
        self.at = 0
        self.start = 0
        self.decode = json.JSONDecoder().raw_decode

    def read_on(self) -> bool:
        """Read more of the file, and forget what has been taken; False at its end."""
        rest = self.text[self.at :]
        # A value that is longer than what is there needs twice as much every time.
        piece = self.file.read(max(CHARACTERS, len(rest)))
        if piece:
            self.start += self.at
            self.text, self.at = rest + piece, 0
        return bool(piece)

    def next_character(self) -> str:
        """The next character after white space; empty at the end."""
        while True:
            self.at = SPACE.match(self.text, self.at).end()  # type: ignore[union-attr]
            if self.at < len(self.text) or not self.read_on():
                return self.text[self.at : self.at + 1]

    def expect(self, character: str) -> None:
        """Require what `next_character` returns."""
        if self.next_character() != character:
            wanted = f"{character!r}" if character else "the end"
            raise json.JSONDecodeError(f"Expecting {wanted}", self.text, self.at)

    def take(self, character: str) -> None:
        """Require a character, and go on after it."""
        self.expect(character)
        self.at += 1

    def value(self) -> Any:
        """The next value."""
        self.next_character()
        while True:
            try:
                value, end = self.decode(self.text, self.at)
            except json.JSONDecodeError:
                if not self.read_on():
                    raise
                continue
            # A number may go on, at the most after the two characters of 'e+'.
            if end + 2 < len(self.text) or not self.read_on():
                self.at = end
                return value

    def pieces(self) -> Iterator[list[Any]]:
        """The values of the next list."""
        self.take("[")
        if self.next_character() == "]":
            self.at += 1
            yield []
            return
        piece: list[Any] = []
        in_batches = True
        while True:
            if in_batches and len(self.text) - self.at > BATCH:
                batch = self._batch()
                in_batches = bool(batch)
                piece += batch
                while len(piece) >= ENTRIES:
                    yield piece[:ENTRIES]
                    del piece[:ENTRIES]
            try:
                value, end = self.decode(self.text, self.at)
                separator = SEPARATOR.match(self.text, end)
            except json.JSONDecodeError:
                separator = None
            if separator is None:  # near the end of the text
                value = self.value()
                separator = SEPARATOR.match(self.text, self.at)
                if separator is None and self.next_character() in (",", "]"):
                    separator = SEPARATOR.match(self.text, self.at)
                if separator is None:
                    raise json.JSONDecodeError("Expecting ',' or ']'", self.text, self.at)
            piece.append(value)
            self.at = separator.end()
            if separator[1] == "]":
                yield piece
                return
            if len(piece) == ENTRIES:
                yield piece
                piece = []

    def _batch(self) -> list[Any]:
        """The objects up to the last boundary in the text; none if that is not sure to be one.

        What looks like a boundary may lie in a string or in an object of objects: then the text
        before it is no list.
        """
        boundaries = list(BOUNDARY.finditer(self.text, max(self.at, len(self.text) - BATCH)))
        if not boundaries:
            return []
        last = boundaries[-1]
        try:
            values = json.loads(f"[{self.text[self.at : last.start() + 1]}]")
        except json.JSONDecodeError:
            return []
        self.at = last.end() - 1
        return values


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Millions of new lists make Python look for cycles again and again; there are none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
