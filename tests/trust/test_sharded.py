"""mmengine's FSDPStrategy shards a backbone and its optimizer, and trains like one process."""

import copy
import os
from typing import ClassVar

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import FlexibleRunner, Runner
from running import run_forked
from runs import forget_runs
from small_models import ARCH
from torch import distributed, nn
from torch.utils.data import Dataset

from uniformer_mm.models import UniFormer
from uniformer_mm.models.uniformer import GlobalBlock, LocalBlock

pytestmark = [pytest.mark.slow, pytest.mark.stack]

# torch's FSDP crashes when it moves what is on the CPU to the CPU.
ON_CPU = {"rank0_only": True, "offload_to_cpu": False}
FULL = {
    "state_dict_type": "FULL_STATE_DICT",
    "state_dict_config": {"type": "FullStateDictConfig", **ON_CPU},
    "optim_state_dict_config": {"type": "FullOptimStateDictConfig", **ON_CPU},
}
ITERATIONS = 2
BATCH = 2


class Model(BaseModel):
    """A classifier whose loss takes all outputs; with statistics of BatchNorm as they are."""

    def __init__(self):
        super().__init__()
        self.backbone = UniFormer({**ARCH, "layer_scale": "all"}, norm_eval=True)
        self.head = nn.Linear(64, 4)

    def forward(self, inputs, labels, mode):
        *others, last = self.backbone(inputs)
        loss = nn.functional.cross_entropy(self.head(last.mean((2, 3))), labels)
        return {"loss": loss + sum(output.square().mean() for output in others)}


class Images(Dataset):
    metainfo: ClassVar = {}

    def __len__(self):
        return ITERATIONS * BATCH

    def __getitem__(self, index):
        image = torch.randn(3, 32, 32, generator=torch.manual_seed(index))
        return {"inputs": image, "labels": torch.tensor(index)}


def settings(folder, batch_size, **others):
    torch.manual_seed(0)
    return {
        "model": Model(),
        "work_dir": str(folder),
        "train_dataloader": {
            "batch_size": batch_size,
            "sampler": {"type": "DefaultSampler", "shuffle": False},
            "dataset": Images(),
            "collate_fn": {"type": "default_collate"},
        },
        "train_cfg": {"type": "IterBasedTrainLoop", "max_iters": ITERATIONS},
        "optim_wrapper": {"type": "OptimWrapper", "optimizer": {"type": "AdamW", "lr": 1e-3}},
        "default_hooks": {
            "checkpoint": {"type": "CheckpointHook", "interval": 1, "by_epoch": False}
        },
        **others,
    }


def by_block(module, recurse, nonwrapped_numel):
    """Every block is gathered by itself."""
    return recurse or isinstance(module, LocalBlock | GlobalBlock)


def process(rank, folder):
    """One of two processes: train, then resume from the first iteration."""
    torch.set_num_threads(1)
    os.environ["LOCAL_RANK"] = str(rank)
    store = distributed.FileStore(str(folder / "store"), 2)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    wrapper = {"device_id": torch.device("cpu"), "auto_wrap_policy": by_block}
    strategy = {"type": "FSDPStrategy", "model_wrapper": wrapper, "state_dict_cfg": FULL}
    for name, options in {
        "whole": {},
        "resumed": {"resume": True, "load_from": str(folder / "whole" / "iter_1.pth")},
    }.items():
        forget_runs()
        arguments = settings(folder / name, BATCH // 2, strategy=copy.deepcopy(strategy), **options)
        runner = FlexibleRunner(**arguments)
        runner.train()
    shard = sum(weights.numel() for weights in runner.model.parameters())
    (folder / f"shard_{rank}").write_text(str(shard))
    distributed.barrier()
    os._exit(0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA does not survive a fork")
def test_sharded_training_is_that_of_one_process(tmp_path):
    run_forked(process, tmp_path)

    forget_runs()
    runner = Runner(**settings(tmp_path / "alone", BATCH))
    start = {name: tensor.clone() for name, tensor in runner.model.state_dict().items()}
    runner.train()
    alone = runner.model.state_dict()
    total = sum(weights.numel() for weights in runner.model.parameters())
    shards = [int((tmp_path / f"shard_{rank}").read_text()) for rank in (0, 1)]
    assert sum(shards) == total
    assert max(shards) < 0.6 * total
    for name in ("whole", "resumed"):
        saved = torch.load(tmp_path / name / "iter_2.pth", weights_only=True)["state_dict"]
        assert saved.keys() == alone.keys()
        for key, tensor in alone.items():
            torch.testing.assert_close(saved[key], tensor, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(alone["head.weight"], start["head.weight"], atol=1e-4)
