"""The light models in mmpretrain and mmaction2: official files in, official logits out."""

import copy
import functools
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from parity import CASES, assert_matches

from uniformer_mm.checkpoints import load_pretrained
from uniformer_mm.doctor.parity import input_for, tensor_for
from uniformer_mm.engine.hooks.fit_checkpoint import FitCheckpointHook

pytestmark = pytest.mark.stack

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
OFFICIAL = {case["id"]: case for case in CASES}

# official outputs: (config of that architecture, wrapper in the authors' files, our names of the
# classifiers on the map and on the class token)
MODELS_OF = {
    "cls_light_xxs_224": (
        "cls/uniformer_xxs_224_in1k.py",
        "model",
        ("head.fc", "head.class_token_fc"),
    ),
    "video_light_xxs_8x128": (
        "video/uniformer_xxs_16x128_k400.py",
        "model_state",
        ("cls_head.fc_cls", "cls_head.class_token_fc"),
    ),
    "video_light_ls_xxs_4x160": (
        "video/uniformer_xxs_4x160_k400.py",
        "model_state",
        ("cls_head.fc_cls", "cls_head.class_token_fc"),
    ),
}


@functools.cache
def config_of(name):
    config, *_ = MODELS_OF[name]
    init_default_scope("mmpretrain" if config.startswith("cls/") else "mmaction")
    return Config.fromfile(CONFIGS / config)


def build(name, **backbone):
    """The classifier or recognizer of a config, as its codebase builds it."""
    pytest.importorskip("mmpretrain" if name.startswith("cls_") else "mmaction")
    cfg = copy.deepcopy(config_of(name))
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.update({"init_cfg": None, **backbone})
    return MODELS.build(cfg.model).eval()


def official_name(name, ours):
    """What the authors call a tensor."""
    for official, layer in zip(("head", "head_cls"), ours, strict=True):
        if name.startswith(f"{layer}."):
            return name.replace(layer, official)
    return name.removeprefix("backbone.")


@pytest.fixture(params=MODELS_OF)
def case(request, tmp_path):
    """A name from the table, its model, and a file as the authors publish it."""
    _, wrapper, ours = MODELS_OF[request.param]
    model = build(request.param)
    names = {official_name(name, ours): t for name, t in model.state_dict().items()}
    state = {name: tensor_for(name, tuple(t.shape)) for name, t in names.items()}
    assert {"cls_token", "norm.weight", "head.weight", "head_cls.bias"} <= set(state)
    torch.save({wrapper: state, "epoch": 1}, tmp_path / "official.pth")
    return request.param, model, str(tmp_path / "official.pth")


def scores_of(model, inputs):
    if inputs.dim() == 4:
        return model(inputs, mode="tensor")
    from mmaction.structures import ActionDataSample

    samples = [ActionDataSample() for _ in inputs]
    samples = model.predict(inputs.unsqueeze(1), samples)  # one view of each clip
    return torch.stack([sample.pred_score for sample in samples])


def test_an_official_file_through_load_from_gives_the_official_logits(case, tmp_path):
    name, model, path = case
    hook = FitCheckpointHook(exact=True)
    runner = Runner(model, str(tmp_path), load_from=path, custom_hooks=[hook])
    runner.load_or_resume()
    with torch.no_grad():
        scores = scores_of(model, input_for(OFFICIAL[name]))
    (official,) = OFFICIAL[name]["outputs"]
    assert_matches(scores, official)


def test_an_official_file_through_init_cfg_fills_the_whole_backbone(case):
    name, _, path = case
    init = {"type": "Pretrained", "checkpoint": path}
    model = build(name, init_cfg=init)
    model.init_weights()
    for key, tensor in model.backbone.state_dict().items():
        assert torch.equal(tensor, tensor_for(key, tuple(tensor.shape))), key
    report = load_pretrained(model.backbone, path)
    assert set(report.dropped) == {"head.weight", "head.bias", "head_cls.weight", "head_cls.bias"}
    assert len(report.matched) == len(model.backbone.state_dict())
    assert not report.unexpected


def test_image_weights_start_a_video_model(tmp_path):
    image = build("cls_light_xxs_224").backbone.state_dict()
    torch.save(image, tmp_path / "image.pth")
    video = build("video_light_ls_xxs_4x160").backbone
    report = load_pretrained(video, str(tmp_path / "image.pth"), may_miss=["gamma_1", "gamma_2"])
    assert {name.rsplit(".", 1)[1] for name in report.kept_at_init} == {"gamma_1", "gamma_2"}
    assert {"cls_token", "cls_upsample.weight", "norm_cls.bias", "norm.weight"} <= set(
        report.matched
    )
    assert report.unexpected == report.dropped == []
    kernel = video.patch_embed1.proj[0].weight
    torch.testing.assert_close(kernel.sum(2), image["patch_embed1.proj.0.weight"])


@pytest.mark.parametrize("name", ["cls_light_xxs_224", "video_light_xxs_8x128"])
def test_the_loss_is_half_of_each_classifiers(name):
    arch = {"depths": (1, 1, 2, 1), "embed_dims": (56, 112, 224, 448), "head_dim": 28}
    model = build(name, arch=arch)
    torch.manual_seed(0)
    if name.startswith("cls"):
        from mmpretrain.structures import DataSample as Sample

        images = inputs = torch.randn(2, 3, 64, 64)
    else:
        from mmaction.structures import ActionDataSample as Sample

        images = torch.randn(2, 3, 4, 64, 64)
        inputs = images.unsqueeze(1)
    labels = torch.tensor([1, 3])
    losses = model.loss(inputs, [Sample().set_gt_label(label) for label in labels])
    parts = [value for key, value in losses.items() if key.startswith("loss")]
    with torch.no_grad():
        features, class_token = model.backbone(images)
        for part, layer, x in zip(
            parts, MODELS_OF[name][2], (features.flatten(2).mean(2), class_token), strict=True
        ):
            scores = model.get_submodule(layer)(x)
            expected = F.cross_entropy(scores, labels, label_smoothing=0.1)
            torch.testing.assert_close(part, 0.5 * expected)
    sum(parts).backward()
    assert all(p.grad is not None for p in model.parameters()), "DDP would wait for them"
