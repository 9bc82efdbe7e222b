"""Layer-wise decay of the learning rate: the depth of every parameter, and its rate."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from torch import nn

from uniformer_mm.errors import UserError
from uniformer_mm.models import UniFormer, UniFormerLight

BACKBONES = {
    "small": (UniFormer, {"arch": "small"}, (3, 4, 8, 3)),
    "base": (UniFormer, {"arch": "base"}, (5, 8, 20, 7)),
    "small_plus": (UniFormer, {"arch": "small_plus"}, (3, 5, 9, 3)),
    "large": (UniFormer, {"arch": "large"}, (5, 10, 24, 7)),
    "classifier": (UniFormer, {"arch": "small", "output_norm": "batch"}, (3, 4, 8, 3)),
    "three_stages": (UniFormer, {"arch": "small", "out_indices": (1, 2)}, (3, 4, 8)),
    "video": (UniFormer, {"arch": "base", "dims": 3}, (5, 8, 20, 7)),
    "divided": (UniFormer, {"arch": "small", "dims": 3, "split": True}, (3, 4, 8, 3)),
    "xxs": (UniFormerLight, {"arch": "xxs", "class_token": True}, (2, 5, 8, 2)),
    "xs": (UniFormerLight, {"arch": "xs", "dims": 3, "class_token": True}, (3, 5, 9, 3)),
}
WRAPPER = {
    "constructor": "mmengine.LayerDecayConstructor",
    "optimizer": {"type": "AdamW", "lr": 1.0, "weight_decay": 0.05},
    "paramwise_cfg": {"layer_decay_rate": 0.5, "norm_decay_mult": 0.0, "bias_decay_mult": 0.0},
}


class Model(nn.Module):
    """A backbone and a head."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.blocks1 = nn.Linear(2, 2)  # not of the backbone, in spite of its name


def built(name):
    kind, options, _ = BACKBONES[name]
    with torch.device("meta"):
        return kind(**options)


def expected(depths):
    """Depth by the beginnings of names, written out."""
    found, depth = {"patch_embed1.": 0}, 1
    for stage, count in enumerate(depths, start=1):
        found.setdefault(f"patch_embed{stage}.", depth)
        for block in range(count):
            found[f"blocks{stage}.{block}."] = depth
            depth += 1
        found[f"norm{stage}."] = sum(depths) + 1
    return {**found, "norm.": depth, "norm_cls.": depth}


@pytest.mark.parametrize("name", BACKBONES)
def test_every_parameter_has_the_depth_of_its_layer(name):
    model, depths = Model(built(name)), BACKBONES[name][2]
    table = expected(depths)
    table.update({"cls_token": table["blocks3.0."], "cls_upsample.": table.get("blocks4.0.")})
    seen = set()
    for parameter, _ in model.backbone.named_parameters():
        (key,) = (key for key in table if parameter.startswith(key))
        depth = model.backbone.get_layer_depth(f"backbone.{parameter}", "backbone.")
        assert depth == (table[key], sum(depths) + 2), parameter
        assert model.backbone.get_layer_depth(parameter) == depth
        seen.add(table[key])
    assert seen == set(range(sum(depths) + 1)) | {sum(depths) + 1}, "no depth is empty"
    for other in ("blocks1.weight", "head.blocks1.0.weight", "backbone_2.patch_embed1.weight"):
        depth = model.backbone.get_layer_depth(other, "backbone.")
        assert depth == (sum(depths) + 1, sum(depths) + 2)


@pytest.mark.parametrize("name", ["small", "base", "video", "xxs"])
@pytest.mark.parametrize("scope", ["mmdet", "mmengine"])
def test_every_parameter_has_its_rate(name, scope):
    init_default_scope(scope)
    model = Model(built(name))
    wrapper = build_optim_wrapper(
        model, WRAPPER | {"constructor": "mmengine.LayerDecayConstructor"}
    )
    groups = {
        id(group["params"][0]): (group["lr"], group["weight_decay"])
        for group in wrapper.optimizer.param_groups
    }
    norms = {
        f"{module}."
        for module, part in model.named_modules()
        if isinstance(part, nn.LayerNorm | nn.modules.batchnorm._BatchNorm)
    }
    assert len(groups) == len(list(model.parameters()))
    for parameter, value in model.named_parameters():
        depth, count = model.backbone.get_layer_depth(parameter, "backbone.")
        owner, _, kind = parameter.rpartition(".")
        decays = kind != "bias" and f"{owner}." not in norms
        assert groups[id(value)] == (0.5 ** (count - 1 - depth), 0.05 * decays), parameter
    assert groups[id(model.blocks1.weight)] == (1.0, 0.05)


def test_rates_are_multiplied_with_those_of_custom_keys():
    model = Model(built("small"))
    settings = {"layer_decay_rate": 0.5, "custom_keys": {"blocks4.2": {"lr_mult": 3.0}}}
    wrapper = build_optim_wrapper(model, WRAPPER | {"paramwise_cfg": settings})
    rates = {id(group["params"][0]): group["lr"] for group in wrapper.optimizer.param_groups}
    assert rates[id(model.backbone.blocks4[2].attn.proj.weight)] == 1.5
    assert rates[id(model.backbone.blocks4[1].attn.proj.weight)] == 0.25


def test_a_backbone_without_depths_is_refused():
    model = Model(nn.Linear(2, 2))
    with pytest.raises(UserError, match=r"get_layer_depth, which Linear of Model does not have"):
        build_optim_wrapper(model, WRAPPER)


@pytest.mark.stack
def test_constructor_of_mmpretrain_takes_the_depths():
    pytest.importorskip("mmpretrain")
    from mmpretrain.engine.optimizers import LearningRateDecayOptimWrapperConstructor
    from mmpretrain.models import ImageClassifier

    init_default_scope("mmpretrain")
    backbone = {"type": "mmengine.UniFormer", "arch": {"depths": (1, 1, 2, 1)}, "out_indices": (3,)}
    head = {"type": "LinearClsHead", "num_classes": 3, "in_channels": 512}
    with torch.device("meta"):
        model = ImageClassifier(backbone, {"type": "GlobalAveragePooling"}, head)
    paramwise = {"layer_decay_rate": 0.5}
    theirs = LearningRateDecayOptimWrapperConstructor(
        {"type": "OptimWrapper", "optimizer": WRAPPER["optimizer"]}, paramwise
    )
    groups = theirs(model).optimizer.param_groups
    ours = build_optim_wrapper(model, WRAPPER | {"paramwise_cfg": paramwise})
    rates = {id(group["params"][0]): group["lr"] for group in groups}
    assert rates == {id(g["params"][0]): g["lr"] for g in ours.optimizer.param_groups}
    assert sorted(set(rates.values())) == [0.5**power for power in range(6, -1, -1)]
