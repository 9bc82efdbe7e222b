"""How tests run the command-line tools."""

import multiprocessing
import os
import runpy
import sys
from pathlib import Path

import pytest
from runs import forget_runs

ROOT = Path(__file__).resolve().parents[1]
CONFIG = str(ROOT / "configs" / "det" / "mask_rcnn_uniformer_s.py")
BRIEF = [
    "train_cfg.max_iters=2",
    "train_cfg.val_interval=2",
    "default_hooks.checkpoint.interval=2",
    "default_hooks.logger.interval=1",
    "model.test_cfg.rcnn.max_per_img=5",
]


def run_inside(tool, *arguments):
    """Run a tool in this process, which saves the imports; its exit status."""
    forget_runs()
    command = [str(ROOT / "tools" / tool), *map(str, arguments)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", command)
        try:
            runpy.run_path(command[0], run_name="__main__")
        except SystemExit as exit_:
            return exit_.code
    return 0


def run_script(*command, folder):
    """Run a script in a process of its own; its exit status, output and errors.

    The process is forked from one that has imported torch and mmengine, but not this package.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "mmengine.runner"])
    process = context.Process(target=_run_script, args=(list(map(str, command)), str(folder)))
    process.start()
    process.join(600)
    return process.exitcode, *(Path(folder, name).read_text() for name in ("stdout", "stderr"))


def _run_script(command, folder):
    multiprocessing.set_start_method(None, force=True)  # as in a process from a shell
    os.chdir(folder)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, os.O_CREAT | os.O_TRUNC | os.O_WRONLY), number)
    assert "uniformer_mm" not in sys.modules
    sys.argv = command
    runpy.run_path(command[0], run_name="__main__")


def run_forked(process, *arguments, count=2, status=0):
    """Run `process(rank, *arguments)` in forked processes, which must end with the status."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=process, args=(rank, *arguments)) for rank in range(count)]
    for one in processes:
        one.start()
    for one in processes:
        one.join(600)
    assert [one.exitcode for one in processes] == [status] * count
