"""At any time there is at least one complete checkpoint, and one best."""

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import nn

from uniformer_mm import writing
from uniformer_mm.engine.hooks.safe_checkpoint import SafeCheckpointHook
from uniformer_mm.errors import UserError


class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, inputs, mode="tensor"):
        output = self.layer(inputs[0])
        return {"loss": output.mean()} if mode == "loss" else [output]


class Count(BaseMetric):
    """Better at every evaluation."""

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        self.evaluations = getattr(self, "evaluations", 0) + 1
        return {"score": self.evaluations}


@pytest.fixture
def run(tmp_path, request, monkeypatch):
    """Trains for some iterations, each followed by a checkpoint and an evaluation."""
    monkeypatch.setattr("mmengine.runner.runner.collect_env", dict)  # slow

    def train(iterations, **settings):
        data = {"dataset": [{"inputs": torch.ones(1)}] * 2, "batch_size": 1, "num_workers": 0}
        with DefaultScope.overwrite_default_scope("mmengine"):
            runner = Runner(
                Line(),
                str(tmp_path),
                experiment_name=f"{request.node.name}_{iterations}",
                train_dataloader={**data, "sampler": {"type": "InfiniteSampler"}},
                val_dataloader={**data, "sampler": {"type": "DefaultSampler"}},
                train_cfg={"by_epoch": False, "max_iters": iterations, "val_interval": 1},
                val_cfg={},
                val_evaluator=[Count()],
                optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
                default_hooks={
                    "checkpoint": {
                        "type": SafeCheckpointHook,
                        "by_epoch": False,
                        "interval": 1,
                        "max_keep_ckpts": 1,
                        **settings,
                    }
                },
            )
            runner.train()
        return runner

    return train


def files(folder):
    return sorted(path.name for path in folder.glob("*.pth"))


def test_outdated_files_are_deleted_after_new_ones_are_on_the_disk(run, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(writing.os, "fsync", lambda _: seen.append(files(tmp_path)))
    run(3, save_best="score", rule="greater")
    # Of an iteration: the checkpoint, its record, the best one, and both again with its name.
    first, second, third = seen[:5], seen[5:10], seen[10:]
    assert first[0] == []
    assert second[0] == ["best_score_iter_1.pth", "iter_1.pth"]
    assert third[0] == ["best_score_iter_2.pth", "iter_2.pth"]
    assert third[2] == ["best_score_iter_2.pth", "iter_3.pth"]
    assert third[4] == ["best_score_iter_2.pth", "best_score_iter_3.pth", "iter_3.pth"]
    assert files(tmp_path) == ["best_score_iter_3.pth", "iter_3.pth"]


def test_a_write_that_fails_loses_nothing(run, tmp_path, monkeypatch):
    run(1)
    before = (tmp_path / "iter_1.pth").read_bytes()

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing.os, "fsync", fail)
    with pytest.raises(UserError, match=r"cannot write .*iter_1\.pth .*: No space left on device"):
        run(2)
    assert (tmp_path / "iter_1.pth").read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_other_storage_is_left_to_itself():
    assert SafeCheckpointHook(out_dir="s3://bucket/runs").backend_args is None
    assert SafeCheckpointHook(backend_args={"backend": "petrel"}).backend_args == {
        "backend": "petrel"
    }
