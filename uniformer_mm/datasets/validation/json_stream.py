"""Read JSON files whose lists do not fit into memory."""

import gc
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, NoReturn, TextIO

CHARACTERS = 1 << 23
"""Characters that are read from the file at a time."""

OBJECTS = 1 << 16
"""Characters of a list that are decoded at once."""

BATCH_SIZE = 1 << 13
"""Largest number of list elements in a batch."""

SPACE = re.compile(r"[ \t\n\r]*")


def stream_json(path: str, lists: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Read the members of the JSON object in a file, one after the other.

    Args:
        path: The file.
        lists: Names of members whose lists are split into batches of at most `BATCH_SIZE` elements.

    Yields:
        Name and value. A list in batches has its name several times, an empty one once.

    Raises:
        OSError: The file cannot be read.
        ValueError: The content is not a JSON object in UTF-8.
    """
    with open(path, encoding="utf-8") as file, _garbage_collection_off():
        reader = _Reader(file)
        try:
            separator = reader.take("{")
            if reader.peek() == "}":
                separator = reader.take("}")
            while separator != "}":
                if reader.peek() != '"':
                    reader.fail("Expecting a name in quotes")
                name = reader.value()
                reader.take(":")
                if reader.peek() == "[" and name in lists:
                    elements = reader.elements()
                    yield name, list(islice(elements, BATCH_SIZE))
                    while batch := list(islice(elements, BATCH_SIZE)):
                        yield name, batch
                else:
                    yield name, reader.value()
                separator = reader.take(",}")
            if reader.peek():
                reader.fail("Extra data")
        except json.JSONDecodeError as error:
            raise ValueError(f"{error.msg} at character {reader.start + error.pos}") from error


class _Reader:
    """A window on the text of a file, from which values are taken."""

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.text = ""
        self.at = 0
        self.start = 0
        self.decode = json.JSONDecoder().raw_decode

    def fill(self) -> bool:
        """Drop the text before `at` and read more; False at the end of the file."""
        rest = self.text[self.at :]
        # Doubling bounds the work on a value that is longer than the window.
        more = self.file.read(max(CHARACTERS, len(rest)))
        if more:
            self.start += self.at
            self.text, self.at = rest + more, 0
        return bool(more)

    def peek(self) -> str:
        """Return the next character after white space; empty at the end of the file."""
        while True:
            self.at = SPACE.match(self.text, self.at).end()  # type: ignore[union-attr]
            if self.at < len(self.text) or not self.fill():
                return self.text[self.at : self.at + 1]

    def take(self, expected: str) -> str:
        """Consume the next character, one of `expected`."""
        character = self.peek()
        if not character or character not in expected:
            self.fail(f"Expecting {' or '.join(map(repr, expected))}")
        self.at += 1
        return character

    def value(self) -> Any:
        """Consume the value that starts here."""
        while True:
            try:
                value, end = self.decode(self.text, self.at)
            except json.JSONDecodeError:
                if not self.fill():
                    raise
                continue
            # A number may continue after the end of the window, after 'e+' at the latest.
            if end + 2 < len(self.text) or not self.fill():
                self.at = end
                return value

    def fail(self, message: str) -> NoReturn:
        """Raise an error at the current position."""
        raise json.JSONDecodeError(message, self.text, self.at)

    def elements(self) -> Iterator[Any]:
        """Consume the next list and yield its elements."""
        self.take("[")
        if self.peek() == "]":
            self.take("]")
            return
        in_batches = True
        while True:
            values: list[Any] = []
            if in_batches and len(self.text) - self.at > OBJECTS:
                values = self.objects()
                in_batches = bool(values)
            yield from values or [self.value()]
            if self.take(",]") == "]":
                return
            self.peek()

    def objects(self) -> list[Any]:
        """Consume many objects of a list at once, which is faster; none if that is not possible."""
        ends = (self.text.rfind(mark, self.at, self.at + OBJECTS) for mark in ("}, {", "},{"))
        end = max(ends) + 1
        try:
            values = json.loads(f"[{self.text[self.at : end]}]") if end else []
        except json.JSONDecodeError:  # the end is in an object, in a string or beyond the list
            return []
        self.at = end or self.at
        return values


@contextmanager
def _garbage_collection_off() -> Iterator[None]:
    """Stop the search for cycles, which millions of new lists without any would trigger."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
