"""Files are there whole or not at all, and nobody deletes what another one is writing."""

import os
import subprocess
import sys
import time

import pytest

from uniformer_mm.checkpoints import writing
from uniformer_mm.checkpoints.writing import delete_abandoned, partial_path, write_parts


def test_names_of_partial_files_are_short_and_used_once(tmp_path):
    path = tmp_path / ("n" * 251 + ".pth")
    names = {partial_path(path).name for _ in range(9)}
    assert len(names) == 9
    assert max(map(len, names)) < 50
    writing.write_whole(path, b"content")
    assert path.read_bytes() == b"content"


def test_what_fails_leaves_what_was_there(tmp_path):
    def failing():
        yield b"half"
        raise ValueError("of the other half")

    path = tmp_path / "file"
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match="of the other half"):
        write_parts(path, failing())
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("file", b"before")]


def test_only_abandoned_partial_files_are_deleted(tmp_path):
    mine = partial_path(tmp_path / "x")
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    host = mine.name[1:].partition("-")[0]
    dead = tmp_path / f".{host}-{process.pid}-abc.partial.mp4"
    other, old = tmp_path / ".12345678-1-abc.partial", tmp_path / ".iter_3.pth.partial"
    for path in (mine, dead, other, old):
        path.write_bytes(b"")
    os.utime(old, (time.time() - 9999,) * 2)
    delete_abandoned(tmp_path)
    assert set(tmp_path.iterdir()) == {mine, other}
