"""Test-time augmentation evaluates the moving average in a checkpoint."""

import types

import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.model import BaseModel, BaseTTAModel
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from torch import nn

from uniformer_mm import compat
from uniformer_mm.compat import ema_of_tta_model
from uniformer_mm.engine.hooks.fit_checkpoint import FitCheckpointHook
from uniformer_mm.models import UniFormer

pytestmark = pytest.mark.stack

TINY = {"depths": (1, 1, 1, 1), "embed_dims": (16, 16, 32, 32), "head_dim": 16}


class Model(BaseModel):
    def __init__(self, num_classes=3):
        super().__init__()
        self.backbone = UniFormer(TINY, output_norm="batch")
        self.head = nn.Linear(32, num_classes)

    def forward(self, inputs):
        return inputs


class Augmented(BaseTTAModel):
    def merge_preds(self, data_samples_list):
        return data_samples_list


def make_checkpoint(num_classes=3):
    """Return a checkpoint as EMAHook saves it, the model and the average."""
    torch.manual_seed(1)
    model, average = Model(num_classes), Model(num_classes)
    renamed = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    checkpoint = {
        "state_dict": average.state_dict(),
        "ema_state_dict": {"steps": torch.tensor(5), **renamed},
    }
    return checkpoint, model, average


def load(hook, model, checkpoint, training=False, **options):
    """Load a checkpoint as a Runner does with the two hooks."""
    runner = types.SimpleNamespace(
        model=model,
        _load_from="checkpoint.pth",
        _resume=False,
        param_schedulers=None,
        _train_loop={},
    )
    hook.before_run(runner)
    FitCheckpointHook(exact=not training, **options).after_load_checkpoint(runner, checkpoint)
    hook.after_load_checkpoint(runner, checkpoint)
    _load_checkpoint_to_model(model, checkpoint)
    return runner


def same(model, expected):
    pairs = zip(model.parameters(), expected.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("wrap", [Augmented, lambda model: model], ids=["tta", "plain"])
@pytest.mark.parametrize("kind", ["mmengine", "mmpretrain"])
def test_the_average_is_evaluated(kind, wrap):
    hook_type = EMAHook if kind == "mmengine" else pytest.importorskip("mmpretrain.engine").EMAHook
    compat.apply(ema_of_tta_model)
    checkpoint, original, average = make_checkpoint()
    inner = Model()
    hook = hook_type(update_buffers=True)
    runner = load(hook, wrap(inner), checkpoint)
    hook.before_test_epoch(runner)
    assert same(inner, average)
    if kind == "mmpretrain":  # mmengine's has the average twice
        hook._swap_ema_parameters()
        assert same(inner, original)


def test_an_average_with_heads_of_other_classes_starts_a_training():
    hook = pytest.importorskip("mmpretrain.engine").EMAHook()
    checkpoint, original, average = make_checkpoint(num_classes=5)
    model = Model(num_classes=3)
    head = model.head.weight.clone()
    load(hook, model, checkpoint, training=True, new_heads=True)
    assert same(model.backbone, original.backbone)
    assert same(hook.ema_model.module.backbone, average.backbone)
    assert torch.equal(model.head.weight, head)
    assert hook.ema_model.steps == 5
