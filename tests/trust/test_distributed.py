"""Two processes train as one does on all their samples."""

import os

import pytest
import torch
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from mmengine.registry import DATASETS, FUNCTIONS, MODELS
from running import run_forked
from small_models import CONFIGS, training_config
from torch import distributed, nn

pytestmark = [pytest.mark.slow, pytest.mark.stack]

SAMPLES = 2
"""Of a process."""


def build(task, data, work_dir):
    """A model and four samples, as the pipeline leaves them.

    What depends on the batch or on chance is off: statistics of a batch (without a GPU there is no
    SyncBN), stochastic depth, dropout, mixed samples.
    """
    cfg = training_config(task, data, work_dir)
    cfg.model.backbone.drop_path_rate = 0.0
    cfg.model.get("data_preprocessor", {}).pop("blending", None)
    if task == "cls":
        cfg.model.train_cfg = None
        cfg.model.data_preprocessor = cfg.data_preprocessor
    torch.manual_seed(0)
    model = revert_sync_batchnorm(MODELS.build(cfg.model))
    model.init_weights()
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.modules.dropout._DropoutNd):
            module.eval()
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    collate = cfg.train_dataloader.get("collate_fn", {"type": "pseudo_collate"})["type"]
    samples = [dataset[index] for index in range(2 * SAMPLES)]
    return model, FUNCTIONS.get(collate), samples


def gradients(model, batch, wrapper=None):
    """Gradients of a model, alone or wrapped."""
    torch.manual_seed(0)  # detectors draw boxes
    data = model.data_preprocessor(batch, training=True)
    loss, _ = model.parse_losses((wrapper or model)(**data, mode="loss"))
    loss.backward()
    result = {name: weights.grad.clone() for name, weights in model.named_parameters()}
    model.zero_grad()
    return result


def process(rank, folder, model, halves):
    """One of two; `find_unused_parameters` is False, which every parameter has to bear twice."""
    torch.set_num_threads(1)
    store = distributed.FileStore(str(folder / "store"), 2)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    wrapper = MMDistributedDataParallel(model, device_ids=None, broadcast_buffers=False)
    gradients(model, halves[rank], wrapper)
    torch.save(gradients(model, halves[rank], wrapper), folder / f"{rank}.pth")
    distributed.barrier()
    os._exit(0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA does not survive a fork")
@pytest.mark.parametrize("task", CONFIGS)
def test_gradients_are_those_of_one_process_with_all_samples(task, tmp_path, synthetic_sets):
    """A detector's are the mean of two: its losses are per box that a process has drawn."""
    model, collate, samples = build(task, synthetic_sets, tmp_path)
    halves = [collate(samples[:SAMPLES]), collate(samples[SAMPLES:])]
    run_forked(process, tmp_path, model, halves)
    first, second = (torch.load(tmp_path / f"{rank}.pth") for rank in (0, 1))
    if task == "det":
        apart = [gradients(model, half) for half in halves]
        expected = {name: (apart[0][name] + apart[1][name]) / 2 for name in first}
    else:
        expected = gradients(model, collate(samples))
    assert first.keys() == expected.keys()
    largest = max(gradient.norm() for gradient in expected.values())
    for name, gradient in expected.items():
        assert torch.equal(first[name], second[name])
        error = (first[name] - gradient).norm() / (gradient.norm() + 1e-4 * largest)
        assert error < 1e-4, f"{name}: {error}"
