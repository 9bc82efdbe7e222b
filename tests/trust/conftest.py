"""A small detector, trained by the real tool."""

import pytest
import torch
from running import run_inside
from small_models import DETECTOR, DoAt

OPTIONS = [
    *("train_cfg.max_epochs=2", "train_cfg.val_begin=3", "train_dataloader.num_workers=0"),
    *("train_dataloader.persistent_workers=False", "default_hooks.checkpoint.by_epoch=False"),
    *("default_hooks.checkpoint.interval=1", "default_hooks.logger.interval=1"),
    *("train_dataloader.dataset.indices=6", "randomness.seed=3"),
    "train_dataloader.dataset.pipeline.2.scale=(96,96)",
]
"""Two epochs of three iterations, each iteration followed by a checkpoint."""


class Detector:
    """Trains in a folder of its own, each run in a working directory of its name."""

    def __init__(self, folder, coco):
        self.folder = folder
        self.config = folder / "detector.py"
        self.config.write_text(DETECTOR)
        self.data = ("--coco", coco / "train2017", coco / "annotations/instances_train2017.json")

    def do_at(self, iteration, action):
        """Have a function of the runner called before an iteration of all runs to come."""
        DoAt.action = action
        hook = {"type": "mmengine.DoAt", "iteration": iteration}
        self.config.write_text(f"{DETECTOR}custom_hooks = [{hook}]\n")

    def train(self, name, *arguments):
        """Exit status of the tool, run in this process.

        Arguments that contain '=' are options of the config.
        """
        options = [argument for argument in arguments if "=" in str(argument)]
        others = [argument for argument in arguments if "=" not in str(argument)]
        return run_inside(
            *("train.py", self.config, "--work-dir", self.folder / name, *self.data, *others),
            *("--cfg-options", *OPTIONS, *options),
        )


@pytest.fixture
def detector(synthetic_folder, tmp_path):
    return Detector(tmp_path, synthetic_folder / "data" / "synthetic" / "coco")


@pytest.fixture(scope="session")
def uninterrupted(synthetic_folder, tmp_path_factory):
    """Last checkpoint of a training of `detector` that nothing interrupts."""
    coco = synthetic_folder / "data" / "synthetic" / "coco"
    detector = Detector(tmp_path_factory.mktemp("uninterrupted"), coco)
    assert detector.train("work") == 0
    return detector.folder / "work" / "iter_6.pth"


@pytest.fixture(autouse=True)
def brief_shutdown(monkeypatch):
    """A worker forked after a backward pass does not end by itself; torch waits for 5 s."""
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.2)
