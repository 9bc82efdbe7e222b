"""Files are written atomically, and no process deletes what another one is writing."""

import pytest

from uniformer_mm.writing import (
    delete_abandoned,
    locked,
    partial_path,
    write_parts,
    write_whole,
)


def test_temporary_names_are_short_and_unique(tmp_path):
    path = tmp_path / ("n" * 251 + ".pth")
    names = {partial_path(path).name for _ in range(9)}
    assert len(names) == 9
    assert max(map(len, names)) < 50
    write_whole(path, b"content")
    assert path.read_bytes() == b"content"


def test_a_failed_write_leaves_the_old_file(tmp_path):
    def failing():
        yield b"half"
        raise ValueError("of the other half")

    path = tmp_path / "file"
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match="of the other half"):
        write_parts(path, failing())
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("file", b"before")]


def test_only_abandoned_temporary_files_are_deleted(tmp_path):
    left, written = partial_path(tmp_path / "x"), partial_path(tmp_path / "y")
    left.write_bytes(b"half")
    with written.open("wb") as file, locked(file, wait=True):
        file.write(b"half")
        file.flush()
        delete_abandoned(tmp_path)
        assert set(tmp_path.iterdir()) == {written}
    delete_abandoned(tmp_path)
    assert not list(tmp_path.iterdir())
