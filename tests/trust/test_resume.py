"""An interrupted training ends with the same weights as an uninterrupted one, bit by bit."""

import functools
import itertools
import os
import signal
from pathlib import Path

import pytest
import torch
from mmengine.optim.optimizer import amp_optimizer_wrapper
from running import run_forked
from runs import forget_runs
from small_models import training_config

from uniformer_mm.apis.train import build_trainer
from uniformer_mm.apis.train import train as train_runner
from uniformer_mm.checkpoints import CheckpointError
from uniformer_mm.checkpoints.facts import describe_backbone
from uniformer_mm.checkpoints.latest import latest_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.stack]


def train_until_killed(rank, detector, name):
    """Train in a forked process that is killed in the middle of the third checkpoint."""
    fsync_calls = itertools.count(1)

    def fsync(descriptor):
        # Checkpoint, last_checkpoint, checkpoint, last_checkpoint, and half of a third checkpoint.
        if next(fsync_calls) == 5:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    os.fsync = fsync
    detector.train(name)


def load(path):
    return torch.load(path, weights_only=True)


def assert_same(first, second, averages=False):
    """Compare all that training goes on from, bit by bit."""
    first, second = load(first), load(second)

    def tensors(checkpoint):
        parts = checkpoint["state_dict"], checkpoint["optimizer"]["state"]
        return (*parts, checkpoint["ema_state_dict"]) if averages else parts

    torch.testing.assert_close(tensors(first), tensors(second), rtol=0, atol=0, equal_nan=True)
    assert first["optimizer"]["param_groups"] == second["optimizer"]["param_groups"]
    assert first["optimizer"].get("loss_scaler") == second["optimizer"].get("loss_scaler")
    assert first["param_schedulers"] == second["param_schedulers"]


def test_killed_while_writing_a_checkpoint_training_resumes_from_the_one_before(
    detector, uninterrupted, capsys
):
    run_forked(train_until_killed, detector, "killed", count=1, status=-signal.SIGKILL)
    folder = detector.folder / "killed"
    assert (folder / "last_checkpoint").read_text() == str(folder / "iter_2.pth")
    (partial,) = folder.glob(".*.partial")
    assert 0 < partial.stat().st_size < (folder / "iter_2.pth").stat().st_size
    with (folder / "iter_2.pth").open("r+b") as file:  # and the disk lost the end of this one
        file.truncate(1000)

    capsys.readouterr()
    assert detector.train("killed", "--resume") == 0
    output = capsys.readouterr().out
    (warning,) = [line for line in output.splitlines() if str(folder / "iter_2.pth") in line]
    assert "damaged" in warning
    assert str(folder / "iter_1.pth") in warning
    assert "resumed epoch: 0, iter: 1" in output
    assert not partial.exists()
    assert_same(uninterrupted, folder / "iter_6.pth")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_within_an_epoch_and_training_resumes_there(
    detector, uninterrupted, capsys, number
):
    """The rest of the epoch uses a worker process, and the checkpoint is named."""
    sparse = "default_hooks.checkpoint.interval=100"
    detector.do_at(2, lambda runner: os.kill(os.getpid(), number))
    previous = signal.getsignal(number)
    assert detector.train("stopped", sparse) == 128 + number
    assert signal.getsignal(number) == previous
    saved = detector.folder / "stopped" / "iter_2.pth"
    output = capsys.readouterr().out
    assert number.name in output
    assert f"--resume goes on from {saved}" in output
    if number == signal.SIGUSR1:  # the rest does not depend on the signal
        return
    workers = ("train_dataloader.num_workers=1", "train_dataloader.persistent_workers=True")
    assert detector.train("stopped", sparse, *workers, "--resume", saved) == 0
    assert "Epoch(train) [1][3/3]" in capsys.readouterr().out
    assert_same(uninterrupted, detector.folder / "stopped/iter_6.pth")
    assert not saved.exists(), "a checkpoint out of turn goes when a regular one is there"


def use_averages(cfg):
    average = {"type": "EMAHook", "momentum": 0.1, "update_buffers": True}
    cfg.custom_hooks = [*cfg.get("custom_hooks", []), average]


def use_workers(cfg):
    cfg.train_dataloader.update(num_workers=2, persistent_workers=True)


def use_epochs(cfg):
    """One of four iterations, with a schedule by epoch."""
    cfg.train_cfg = {"by_epoch": True, "max_epochs": 1, "val_interval": 10}
    cfg.train_dataloader.sampler.type = "DefaultSampler"
    cfg.param_scheduler = [{"type": "MultiStepLR", "by_epoch": True, "milestones": [1]}]


def use_mixed_precision(cfg):
    """With a loss scale that grows."""
    scale = {"init_scale": 64.0, "growth_interval": 2}
    cfg.optim_wrapper.update(type="AmpOptimWrapper", loss_scale=scale, dtype="bfloat16")


@pytest.fixture
def amp_on_cpu(monkeypatch):
    """On one thread: not all of torch's bfloat16 kernels add up in the same order on several."""
    scaler = functools.partial(torch.amp.GradScaler, "cpu")
    monkeypatch.setattr(amp_optimizer_wrapper, "GradScaler", scaler)
    monkeypatch.setattr(amp_optimizer_wrapper, "is_cuda_available", lambda: True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("task", "variants"),
    [
        ("seg", [use_averages, use_workers]),
        ("pose", [lambda cfg: cfg.randomness.update(seed=None)]),
        ("video", [use_epochs, use_averages]),  # with MixClips
        ("cls", [use_mixed_precision, use_averages]),  # with Mixup and CutMix
    ],
    ids=["seg", "pose", "video", "cls"],
)
def test_every_task_resumes_exactly(task, variants, tmp_path, synthetic_sets, request):
    if use_mixed_precision in variants:
        request.getfixturevalue("amp_on_cpu")

    def train(name, checkpoint=None):
        cfg = training_config(task, synthetic_sets, tmp_path / name)
        for variant in variants:
            variant(cfg)
        if checkpoint:
            cfg.resume, cfg.load_from = True, checkpoint
        forget_runs()
        runner = build_trainer(cfg)
        train_runner(runner)
        return tmp_path / name / f"iter_{runner.iter}.pth"

    whole = train("whole")
    resumed = train("resumed", str(whole.with_name("iter_1.pth")))
    assert_same(whole, resumed, averages=use_averages in variants)
    assert not torch.equal(
        next(iter(load(whole)["state_dict"].values())),
        next(iter(load(whole.with_name("iter_1.pth"))["state_dict"].values())),
    ), "the weights moved in between"


def empty(path):
    path.write_bytes(b"")


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.fixture
def checkpoints(tmp_path):
    """Three files, the last of which is the latest."""
    forget_runs()
    paths = [tmp_path / f"iter_{number}.pth" for number in (9, 10, 11)]
    for time, path in enumerate(paths):
        torch.save({"state_dict": {"weight": torch.randn(1000)}}, path)
        os.utime(path, (time, time))
    (tmp_path / "last_checkpoint").write_text(str(paths[-1]))
    return paths


@pytest.mark.parametrize("damage", [empty, truncate, flip_a_bit])
def test_damaged_checkpoints_are_passed_over(checkpoints, damage, capsys):
    first, second, third = checkpoints
    damage(third)
    damage(second)
    assert latest_checkpoint(first.parent) == first
    assert f"damaged: {third}, {second}. Training resumes from {first}" in capsys.readouterr().out
    damage(first)
    with pytest.raises(CheckpointError, match=r"every checkpoint in .* is damaged: .*iter_11"):
        latest_checkpoint(first.parent)


@pytest.mark.parametrize(
    "content",
    [
        *("", "elsewhere/iter_11.pth", None, "x" * 100_000, "missing/" + "x" * 300),
        *(b"\xff\xfe" * 9, "iter\0.pth", "two\nlines", "/dev/zero"),
    ],
)
def test_the_latest_checkpoint_is_found_without_its_name(checkpoints, content):
    """An old run of mmengine was killed while writing it, the folder was moved, or it is lost."""
    *_, latest = checkpoints
    record = latest.with_name("last_checkpoint")
    record.unlink()
    if content is not None:
        record.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert latest_checkpoint(latest.parent) == latest


def test_only_regular_files_are_checkpoints(checkpoints):
    folder = checkpoints[0].parent
    (folder / "iter_98.pth").symlink_to("iter_98.pth")
    (folder / "iter_97.pth").symlink_to("nowhere.pth")
    (folder / "iter_96.pth").symlink_to("/dev/zero")
    (folder / "iter_95.pth").mkdir()
    os.mkfifo(folder / "iter_94.pth")
    for make in (Path.unlink, lambda record: record.symlink_to(record.name), None):
        assert latest_checkpoint(folder) == checkpoints[-1]
        if make:
            make(folder / "last_checkpoint")


@pytest.mark.parametrize(
    ("part", "value"),
    [("optimizer", {"state": {}, "param_groups": []}), ("message_hub", 7), ("param_schedulers", 7)],
)
def test_a_state_that_does_not_fit_is_named(tmp_path, synthetic_sets, part, value):
    cfg = training_config("cls", synthetic_sets, tmp_path / "work")
    runner = build_trainer(cfg)
    content = {
        "state_dict": runner.model.state_dict(),
        "meta": {"epoch": 0, "iter": 1, **describe_backbone(runner.model)},
        **{"message_hub": {}, "optimizer": {}, "param_schedulers": []},
        part: value,
    }
    torch.save(content, tmp_path / "odd.pth")
    runner._resume, runner._load_from = True, str(tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=r"^.*odd\.pth.*--load-from.*$"):
        train_runner(runner)
