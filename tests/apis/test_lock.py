"""A working directory has one training at a time."""

import os
import signal
import subprocess
import sys

import pytest
from mmengine.config import Config

from uniformer_mm.apis import lock as locking
from uniformer_mm.apis.train import build_trainer
from uniformer_mm.errors import UserError

HOLDER = """
import fcntl, os, sys
file = open(sys.argv[1], "a+")
fcntl.lockf(file, fcntl.LOCK_EX)
print(f"process {os.getpid()} on elsewhere", file=file, flush=True)
print("locked", flush=True)
if os.fork():
    sys.stdin.read()
else:  # a worker, which outlives its parent
    os.read(int(sys.argv[2]), 1)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that trains in the folder, with a worker."""
    reading, writing = os.pipe()
    command = [sys.executable, "-c", HOLDER, tmp_path / locking.NAME, str(reading)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, pass_fds=[reading], **pipes) as process:
        assert process.stdout.readline() == b"locked\n"
        yield process
        process.kill()
        os.close(writing)
        os.close(reading)


@pytest.mark.slow
def test_a_second_training_is_refused_until_the_first_one_dies(tmp_path, holder):
    with pytest.raises(UserError, match=rf"process {holder.pid} on elsewhere.*--work-dir"):
        locking.lock(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match="another training is running"):
        build_trainer(Config({"work_dir": str(tmp_path)}))
    assert sorted(tmp_path.iterdir()) == before
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    locking.lock(tmp_path)  # although the worker is still there
    locking.lock(tmp_path)  # the same process may train again
    assert f"process {os.getpid()} on " in (tmp_path / locking.NAME).read_text()
    locking.unlock(tmp_path)
    locking.unlock(tmp_path)


def test_a_file_system_without_locks_is_trained_on(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(locking.fcntl, "lockf", fail)
    locking.lock(tmp_path)
