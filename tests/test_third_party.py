"""Programs of others that docs/third_party.md names, on models of this package."""

import os
import re
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from runs import forget_runs
from small_models import ARCH, CONFIGS, inference_options, read_config, training_config
from torch import nn

from uniformer_mm import Inferencer, UniFormer, UniFormerLight, __main__
from uniformer_mm.models import ChannelsFirstTap

pytestmark = pytest.mark.stack

CODEBASES = {
    "det": ("mmdet", "coco/bbox_mAP"),
    "seg": ("mmseg", "mIoU"),
    "pose": ("mmpose", "coco/AP"),
    "video": ("mmaction", "acc/top1"),
    "cls": ("mmpretrain", "accuracy/top1"),
}
"""Codebase, and a score that its test.py prints."""


@pytest.mark.slow
@pytest.mark.parametrize("task", CODEBASES)
def test_the_test_tool_of_a_codebase(task, synthetic_sets, tmp_path, monkeypatch, capsys):
    codebase, score = CODEBASES[task]
    cfg = training_config(task, synthetic_sets, tmp_path / "work")
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.pop("launcher")
    cfg.dump(tmp_path / "config.py")
    model = dict(cfg.model, data_preprocessor=cfg.model.get("data_preprocessor"))
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        torch.save({"state_dict": MODELS.build(model).state_dict()}, tmp_path / "model.pth")
    tool = Path(sysconfig.get_path("purelib"), codebase, ".mim", "tools", "test.py")
    command = ["uniformer_mm", tool, tmp_path / "config.py", tmp_path / "model.pth"]
    monkeypatch.setattr(sys, "argv", list(map(str, command)))
    monkeypatch.setattr(sys, "path", list(sys.path))
    forget_runs()
    __main__.main()
    output = "".join(capsys.readouterr())
    assert re.search(rf"{score}: +-?\d", output), output[-3000:]
    assert f"Load checkpoint from {tmp_path / 'model.pth'}" in output
    assert "missing keys" not in output
    assert "unexpected key" not in output
    assert os.environ["LOCAL_RANK"] == "0"


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """A small detector, its config file and its checkpoint.

    Its masks fill their boxes, which are not thin, and its scores are above 0.1: SAHI fails on thin
    masks, and its version 0.12 merges objects in another way if low scores are asked for.
    """
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("detector")
    options = inference_options("det")
    options["model.test_cfg.rpn.min_bbox_size"] = 16
    inferencer = Inferencer(
        read_config(CONFIGS["det"]), random_weights=True, threshold=0.1, cfg_options=options
    )
    head = inferencer.model.roi_head
    nn.init.zeros_(head.mask_head.conv_logits.weight)
    nn.init.ones_(head.mask_head.conv_logits.bias)
    nn.init.constant_(head.bbox_head.fc_cls.bias[:2], 4.0)
    inferencer.cfg.dump(folder / "config.py")
    torch.save({"state_dict": inferencer.model.state_dict()}, folder / "model.pth")
    return inferencer, str(folder / "config.py"), str(folder / "model.pth")


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)


@pytest.mark.slow
def test_sahi(detector, image):
    predict = pytest.importorskip("sahi.predict")
    from sahi import AutoDetectionModel

    _, config, checkpoint = detector
    model = AutoDetectionModel.from_pretrained(
        "mmdet", checkpoint, config_path=config, device="cpu", confidence_threshold=0.1
    )
    result = predict.get_sliced_prediction(image[..., ::-1], model, 64, 64, 0.25, 0.25, verbose=0)
    objects = sorted(result.object_prediction_list, key=lambda entry: -entry.score.value)
    sliced = Inferencer(config, checkpoint, threshold=0.1, slices=(64, 0.25)).predict(image)
    assert len(sliced.scores) == len(objects) > 5
    np.testing.assert_allclose(sliced.scores, [entry.score.value for entry in objects])
    np.testing.assert_array_equal(sliced.labels, [entry.category.id for entry in objects])
    np.testing.assert_allclose(sliced.boxes, [entry.bbox.to_xyxy() for entry in objects])
    np.testing.assert_array_equal(sliced.masks, [entry.mask.bool_mask for entry in objects])


@pytest.mark.slow
def test_supervision(detector, image):
    supervision = pytest.importorskip("supervision")
    from mmdet.apis import inference_detector, init_detector

    inferencer, config, checkpoint = detector
    model = init_detector(config, checkpoint, device="cpu")
    found = supervision.Detections.from_mmdetection(inference_detector(model, image))
    expected = inferencer.predict(image)
    order = np.argsort(-found.confidence, kind="stable")
    assert len(found) == len(expected.scores) == 5
    np.testing.assert_allclose(found.xyxy[order], expected.boxes, atol=1e-4)
    np.testing.assert_array_equal(found.class_id[order], expected.labels)
    np.testing.assert_array_equal(found.mask[order], expected.masks)
    annotated = supervision.MaskAnnotator().annotate(image.copy(), found)
    assert (annotated != image).any()


class Classifier(nn.Module):
    """A classifier of all outputs of a backbone."""

    def __init__(self):
        super().__init__()
        self.backbone = UniFormer(ARCH, attention="hybrid")
        self.heads = nn.ModuleList(nn.Linear(width, 3) for width in self.backbone.embed_dims)

    def forward(self, image):
        outputs = zip(self.heads, self.backbone(image), strict=True)
        return sum(head(output.mean((2, 3))) for head, output in outputs)


@pytest.mark.parametrize("name", ["norm1", "norm2", "norm3", "norm4", "blocks3.0", "blocks1.0"])
def test_grad_cam(name):
    cam = pytest.importorskip("pytorch_grad_cam")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    torch.manual_seed(0)
    model, image = Classifier().eval(), torch.randn(1, 3, 64, 96)
    tap = ChannelsFirstTap(model.backbone.get_submodule(name))
    with cam.GradCAM(model, [tap]) as explain:
        found = explain(image, [ClassifierOutputTarget(1)])[0]

    tensors = []
    tap.register_forward_hook(lambda _, inputs, output: tensors.append(output))
    logits = model(image)
    (gradient,) = torch.autograd.grad(logits[0, 1], tensors)
    weights = gradient.mean((2, 3), keepdim=True)  # as in the paper, arXiv 1610.02391, eq. 1
    expected = (weights * tensors[0]).sum(1).relu().detach()
    expected = nn.functional.interpolate(expected[None], (64, 96), mode="bilinear")[0, 0]
    assert found.shape == (64, 96)
    assert found.max() > 0.99
    np.testing.assert_allclose(found, expected / expected.max(), atol=0.02)


@pytest.mark.parametrize(
    "backbone",
    [
        lambda: UniFormer(ARCH, attention="hybrid"),
        lambda: UniFormer({**ARCH, "stem": "conv", "layer_scale": "all"}, output_norm="batch"),
        lambda: UniFormer(ARCH, dims=3, split=True),
        lambda: UniFormerLight("xxs"),
    ],
    ids=["hybrid", "plus", "video", "light"],
)
def test_torchinfo_counts_every_parameter_once(backbone):
    torchinfo = pytest.importorskip("torchinfo")
    model = backbone().eval()
    shape = (1, 3, 4, 32, 32) if getattr(model, "dims", 2) == 3 else (1, 3, 64, 64)
    summary = torchinfo.summary(model, shape, device="cpu", verbose=0, depth=9)
    total = sum(weights.numel() for weights in model.parameters())
    assert summary.total_params == summary.trainable_params == total


def test_the_codebases_are_all_tried():
    assert set(CODEBASES) == set(CONFIGS)
