"""The config in a checkpoint is never executed."""

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import CheckpointLoader, Runner

import uniformer_mm  # noqa: F401


class Small(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, inputs, mode="tensor"):
        return {"loss": self.layer(torch.stack(inputs)[:, None]).sum()}


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint after one iteration, with a config that creates the file `ran`."""
    runner_in(tmp_path).train()
    path = tmp_path / "epoch_1.pth"
    content = torch.load(path, weights_only=True)
    content["meta"]["config"] = content["meta"]["cfg"] = f"open({str(tmp_path / 'ran')!r}, 'w')"
    torch.save(content, path)
    return path


def runner_in(folder, **options):
    data = [{"inputs": torch.ones(())}]
    return Runner(
        Small(),
        str(folder),
        train_dataloader={"dataset": data, "sampler": {"type": "DefaultSampler"}, "batch_size": 1},
        train_cfg={"by_epoch": True, "max_epochs": 1},
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
        experiment_name=f"config_runs_{len(options)}",
        **options,
    )


def test_resuming_does_not_run_the_config_of_a_checkpoint(checkpoint, tmp_path):
    runner = runner_in(tmp_path / "again", load_from=str(checkpoint), resume=True)
    runner.train()
    assert runner.epoch == 1
    assert not (tmp_path / "ran").exists()


def test_the_rest_of_the_meta_stays(checkpoint):
    meta = CheckpointLoader.load_checkpoint(str(checkpoint))["meta"]
    assert meta["epoch"] == 1
    assert "cfg" in meta
