"""A file that passed is not checked again until its size, time or content changes."""

import os

import pytest

from uniformer_mm.datasets.validation import cache
from uniformer_mm.datasets.validation.cache import check_once
from uniformer_mm.datasets.validation.coco_format import Report
from uniformer_mm.errors import UserError

OLD = 10**9


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("UNIFORMER_MM_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "set.json"
    path.write_text("first")
    os.utime(path, (OLD, OLD))
    return path


class Check:
    """Counts its calls, and refuses some files."""

    __name__ = "check"
    calls = 0

    def __call__(self, path, use):
        self.calls += 1
        with open(path) as file:
            content = file.read()
        if content == "wrong":
            raise UserError(f"{path} is wrong")
        return Report(f"{path}: {content} of {use}", [f"warning {use}"], 3, None)


def test_the_same_file_is_checked_once_for_every_use(file):
    check = Check()
    first = check_once("train", str(file), check, 1)
    assert check_once("train", str(file), check, 1) == first
    assert check.calls == 1
    assert check_once("train", str(file), check, 2) != first
    assert check.calls == 2


def test_a_changed_file_is_checked_again(file):
    check = Check()
    check_once("train", str(file), check, 1)
    file.write_text("wrong")  # the same size
    with pytest.raises(UserError, match="wrong"):
        check_once("train", str(file), check, 1)
    with pytest.raises(UserError, match="wrong"):
        check_once("train", str(file), check, 1)
    file.write_text("longer")
    check_once("train", str(file), check, 1)
    assert check.calls == 4


def test_time_or_content_identify_a_file(file, monkeypatch):
    check = Check()
    check_once("train", str(file), check, 1)
    os.utime(file, (OLD + 5, OLD + 5))
    check_once("train", str(file), check, 1)  # same content
    os.utime(file, (OLD, OLD))
    monkeypatch.setattr(cache, "_hash", None)
    check_once("train", str(file), check, 1)  # same time: the content is not read
    assert check.calls == 1


def test_a_file_that_was_written_just_before_is_compared_by_its_content(file):
    check = Check()
    os.utime(file)
    stat = file.stat()
    check_once("train", str(file), check, 1)
    file.write_text("wrong")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(UserError, match="wrong"):
        check_once("train", str(file), check, 1)


def test_the_report_is_logged_every_time(file, monkeypatch):
    lines = []
    monkeypatch.setattr(cache, "print_log", lambda line, **_: lines.append(line))
    for _ in range(2):
        check_once("train", str(file), Check(), 1)
    assert lines == [f"train: {file}: first of 1", "warning 1"] * 2


def test_a_cache_that_cannot_be_written_or_read_is_ignored(file, tmp_path, monkeypatch):
    check = Check()
    (tmp_path / "blocked").write_text("")
    monkeypatch.setenv("UNIFORMER_MM_CACHE", str(tmp_path / "blocked"))
    check_once("train", str(file), check, 1)
    monkeypatch.setenv("UNIFORMER_MM_CACHE", str(tmp_path / "cache"))
    check_once("train", str(file), check, 1)
    for note in (tmp_path / "cache").rglob("*.json"):
        note.write_text("{")
    check_once("train", str(file), check, 1)
    assert check.calls == 3


def test_other_checks_are_made_again(file, monkeypatch):
    check = Check()
    check_once("train", str(file), check, 1)
    monkeypatch.setattr(cache, "__file__", str(file))
    (file.parent / "new_check.py").write_text("")
    check_once("train", str(file), check, 1)
    assert check.calls == 2
