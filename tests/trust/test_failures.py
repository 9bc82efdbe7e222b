"""A failure in training ends it with one line and an intact checkpoint of the iteration before."""

import multiprocessing
import os
import resource
import shutil
import signal
from math import nan

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, TRANSFORMS
from small_models import DETECTOR

from uniformer_mm.checkpoints.latest import is_intact

pytestmark = [pytest.mark.slow, pytest.mark.stack]


@pytest.fixture
def error_of(detector, capsys):
    """Trains to its end in a failure; the message, whose checkpoint is that of iteration 1."""

    def run(*arguments):
        assert detector.train("work", *arguments) == 2
        message = capsys.readouterr().err.splitlines()[-1]
        good = detector.folder / "work" / "iter_1.pth"
        assert message.startswith("error: ")
        assert "--resume" in message
        assert message.endswith(f"{good}.")
        assert is_intact(good)
        assert (good.parent / "last_checkpoint").read_text() == str(good)
        assert sorted(path.name for path in good.parent.glob("*.pth")) == ["iter_1.pth"]
        assert not list(good.parent.glob(".*"))
        return message

    return run


def test_a_loss_that_is_not_finite_stops_the_training(detector, error_of):
    detector.do_at(2, lambda runner: runner.model.roi_head.bbox_head.fc_cls.bias.data.fill_(nan))
    message = error_of()
    assert "iteration 2 (loss nan, loss_cls nan)" in message
    assert message.count(".jpg") == 2
    state = torch.load(detector.folder / "work/iter_1.pth", weights_only=True)["state_dict"]
    assert all(torch.isfinite(tensor).all() for tensor in state.values())


def test_weights_that_are_not_finite_are_not_saved(detector, error_of):
    """As they become from gradients that overflowed, or from the loss of another process."""

    def spoil_gradients(runner):
        runner.model.backbone.norm1.weight.register_hook(lambda gradient: gradient * nan)

    detector.do_at(2, spoil_gradients)
    message = error_of()
    assert "backbone.norm1.weight" in message
    assert "iteration 2" in message


def test_a_full_disk_leaves_the_checkpoint_before(detector, error_of):
    """A limit on the size of files stands for the disk: log and records still fit."""
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    detector.do_at(
        2, lambda runner: resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, unlimited[1]))
    )
    try:
        message = error_of()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert str(detector.folder / "work" / "iter_2.pth") in message
    assert "File too large" in message


def test_a_dataset_that_vanishes(detector, error_of, synthetic_folder):
    images, annotations = detector.data[1:]
    copy = detector.folder / "images"
    shutil.copytree(images, copy)
    detector.data = ("--coco", copy, annotations)
    detector.do_at(1, lambda runner: shutil.rmtree(copy))
    assert f" {copy}/" in error_of()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_truncated_image(detector, capsys, workers):
    images, annotations = detector.data[1:]
    copy = detector.folder / "images"
    shutil.copytree(images, copy)
    for path in copy.iterdir():
        path.write_bytes(path.read_bytes()[:-200])
    detector.data = ("--coco", copy, annotations)
    assert detector.train("work", f"train_dataloader.num_workers={workers}") == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith(f"error: {copy}/")
    assert "truncated" in message


SAVED = multiprocessing.get_context("fork").Event()
"""Set after the first checkpoint; workers have it too."""


@HOOKS.register_module()
class TellSaved(Hook):
    priority = "LOWEST"

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        SAVED.set()


def test_a_working_directory_that_vanishes(detector, capsys):
    folder = detector.folder / "work"
    detector.do_at(2, lambda runner: shutil.rmtree(folder))
    assert detector.train("work") == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert f"{folder} was deleted" in message
    assert "No checkpoint" in message


@TRANSFORMS.register_module()
class EndProcess:
    """Ends the process at its third sample, in the second batch, once the first is saved."""

    def __init__(self, prob):
        self.samples = 0

    def __call__(self, results):
        self.samples += 1
        if self.samples == 3:
            SAVED.wait()
            os.kill(os.getpid(), signal.SIGKILL)
        return results


def test_a_worker_that_is_killed(detector, error_of):
    SAVED.clear()
    detector.config.write_text(f"{DETECTOR}custom_hooks = [dict(type='mmengine.TellSaved')]\n")
    message = error_of(
        "train_dataloader.num_workers=1",
        "train_dataloader.dataset.pipeline.3.type=mmengine.EndProcess",  # not RandomFlip
    )
    for fact in ("DataLoader worker (pid", "num_workers", "batch_size"):
        assert fact in message


def test_a_folder_that_cannot_be_written(detector, capsys):
    (detector.folder / "file").write_text("")
    assert detector.train("file/work") == 2
    error = capsys.readouterr().err
    for fact in (f"{detector.folder}/file/work", "Not a directory", "--work-dir"):
        assert fact in error


def test_ctrl_c_says_how_to_resume(detector, capsys):
    def interrupt(runner):
        raise KeyboardInterrupt

    detector.do_at(2, interrupt)
    assert detector.train("work") == 130
    message = capsys.readouterr().err.splitlines()[-1]
    good = detector.folder / "work" / "iter_1.pth"
    assert "--resume" in message
    assert message.endswith(f"{good}.")
