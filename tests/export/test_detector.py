"""Whole detectors in tensors only have the detections of mmdet, and their files as well."""

from functools import cache
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from PIL import Image

from uniformer_mm.apis.config import load_config, replace_sync_batch_norm
from uniformer_mm.errors import UserError
from uniformer_mm.export.detector import Detector, check_detector, paste, pool, suppress
from uniformer_mm.export.files import INPUT, as_onnx, metadata, write_onnx
from uniformer_mm.export.graph import Part, exportable, trace
from uniformer_mm.export.pictures import (
    Before,
    _center_crop,
    _target,
    opencv_linear,
    pillow_cubic,
    surround,
)
from uniformer_mm.export.proof import Found, match
from uniformer_mm.tasks import TASKS

ROOT = Path(__file__).resolve().parents[2]
TINY = {"depths": (1, 1, 2, 1), "embed_dims": [8, 8, 16, 16], "head_dim": 8}
RESIZE = {"type": "Resize", "scale": (200, 120), "keep_ratio": True}
CONFIGS = (
    "mask_rcnn_uniformer_s",
    "mask_rcnn_uniformer_xxs",
    "cascade_mask_rcnn_uniformer_s_3x_ms",
    "faster_rcnn_uniformer_s",
)


@cache
def detector(name):
    """The model of a config with few channels, whose scores are spread."""
    model = load_config(str(ROOT / "configs" / "det" / f"{name}.py")).model
    model.backbone.update(arch=TINY, init_cfg=None)
    if "window_size" in model.backbone:
        model.backbone.window_size = 3
    model.neck.update(in_channels=TINY["embed_dims"], out_channels=16)
    model.rpn_head.update(in_channels=16, feat_channels=16)
    heads, roi = model.roi_head.bbox_head, model.roi_head
    for head in heads if isinstance(heads, list) else [heads]:
        head.update(in_channels=16, fc_out_channels=32, num_classes=7)
        if "conv_out_channels" in head:
            head.conv_out_channels = 16
    roi.bbox_roi_extractor.out_channels = 16
    if roi.get("mask_head"):
        roi.mask_head.update(in_channels=16, conv_out_channels=16, num_classes=7)
        roi.mask_roi_extractor.out_channels = 16
    model.test_cfg.rpn.update(nms_pre=100, max_per_img=60)
    replace_sync_batch_norm(model)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmdet"):
        built = MODELS.build(model).eval().requires_grad_(False)
    for name, parameter in built.named_parameters():
        if "fc_cls" in name or "conv_logits" in name:
            parameter.mul_(5)
    return built


def image(height=93, width=130):
    generator = torch.Generator().manual_seed(height)
    return torch.randn(1, 3, height, width, generator=generator)


@torch.no_grad()
def predicted(model, inputs, original=None, padded=True):
    """Detections of mmdet for a normalized image."""
    from mmdet.structures import DetDataSample

    height, width = inputs.shape[-2:]
    original = original or (height, width)
    sample = DetDataSample(
        metainfo={
            "img_shape": (height, width),
            "ori_shape": original,
            "scale_factor": (width / original[1], height / original[0]),
        }
    )
    batch = torch.nn.functional.pad(inputs, (0, -width % 32, 0, -height % 32))
    return model.predict(batch, [sample])[0].pred_instances


def assert_same(outputs, expected, tolerance=0.0):
    boxes, scores, labels, *masks = outputs
    assert len(expected) == len(boxes)
    torch.testing.assert_close(boxes, expected.bboxes, atol=tolerance, rtol=0)
    torch.testing.assert_close(scores, expected.scores, atol=tolerance, rtol=0)
    assert torch.equal(labels, expected.labels)
    for mask in masks:
        assert (mask != expected.masks).float().mean() <= tolerance


@pytest.mark.stack
@pytest.mark.parametrize("name", CONFIGS)
def test_detections_are_those_of_mmdet(name):
    model = detector(name)
    module = Detector(model).eval()
    for size in ((93, 130), (64, 64), (33, 200)):
        expected = predicted(model, image(*size))
        with torch.no_grad():
            outputs = module(image(*size))
        assert len(outputs) == len(module.output_names) == (3 if "faster" in name else 4)
        assert len(expected) > 5
        assert_same(outputs, expected, 1e-4)


@pytest.mark.stack
def test_nothing_is_found_where_no_score_is_above_the_threshold():
    model = detector("cascade_mask_rcnn_uniformer_s_3x_ms")
    threshold = model.roi_head.test_cfg.score_thr
    model.roi_head.test_cfg.score_thr = 1.1
    try:
        boxes, scores, labels, masks = Detector(model).eval()(image())
    finally:
        model.roi_head.test_cfg.score_thr = threshold
    assert (boxes.shape, scores.shape, labels.shape) == ((0, 4), (0,), (0,))
    assert masks.shape == (0, 93, 130)
    assert masks.dtype == torch.bool


@pytest.mark.stack
def test_what_has_no_equivalent_is_refused():
    model = detector("faster_rcnn_uniformer_s")
    cfg = model.roi_head.test_cfg.nms
    model.roi_head.test_cfg.nms = {"type": "soft_nms", "iou_threshold": 0.5}
    try:
        with pytest.raises(UserError, match="soft_nms"):
            check_detector(model)
    finally:
        model.roi_head.test_cfg.nms = cfg
    with pytest.raises(UserError, match=r"Linear is not a two-stage detector; use --part neck"):
        check_detector(torch.nn.Linear(1, 1))


@pytest.mark.slow
@pytest.mark.stack
def test_one_file_from_a_uint8_image_to_masks_in_its_pixels(run_client, tmp_path):
    model = detector("mask_rcnn_uniformer_s")
    part = Part(model, TASKS["mmdet"], masks="box").eval()
    sizes = {"batch": 1, "channels": 3, "height": 96, "width": 128}
    program = trace(exportable(part, False), sizes)
    main = as_onnx(program, [INPUT], part.output_names(4), part.axes)
    steps = [RESIZE, {"type": "PackDetInputs"}]
    joined, file = surround(main, part, steps, "image"), tmp_path / "x.onnx"
    write_onnx(joined, file, metadata(part, sizes, {}, "faster.py", steps))
    small = onnxruntime.InferenceSession(main.SerializeToString())
    whole = onnxruntime.InferenceSession(file)
    assert [output.name for output in whole.get_outputs()] == ["boxes", "scores", "labels", "masks"]
    preprocessor = model.data_preprocessor
    before = Before(steps, preprocessor, "RGB")
    rng = np.random.default_rng(0)
    for height, width in ((90, 151), (260, 170)):
        noise = rng.integers(0, 256, (9, 15, 3), np.uint8)
        picture = cv2.resize(noise, (width, height))
        inputs = before(torch.from_numpy(picture))
        scale = min(200 / max(height, width), 120 / min(height, width))
        size = tuple(int(side * scale + 0.5) for side in (height, width))
        assert tuple(inputs.shape[2:]) == size
        resized = cv2.resize(picture, size[::-1])[..., ::-1].copy()
        expected = torch.from_numpy(resized).permute(2, 0, 1)
        expected = (expected - preprocessor.mean) / preprocessor.std
        torch.testing.assert_close(inputs[0], expected, atol=1e-6, rtol=0)

        outputs = [torch.from_numpy(x) for x in whole.run(None, {"image": picture})]
        assert len(outputs[0]) > 5
        assert outputs[3].shape[1:] == (height, width)
        assert_same(outputs, predicted(model, inputs, (height, width)), 1e-3)
        cv2.imwrite(str(tmp_path / "x.png"), picture)
        for of_client, output in zip(run_client(file, tmp_path / "x.png"), outputs, strict=True):
            assert np.array_equal(of_client, output)
        in_input = [torch.from_numpy(x) for x in small.run(None, {"inputs": inputs.numpy()})]
        assert in_input[3].shape[1:] == (28, 28)
        assert_same(in_input[:3], predicted(model, inputs), 1e-3)


@pytest.mark.stack
def test_masks_are_pasted_as_mmdet_does():
    from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask

    torch.manual_seed(0)
    corners = torch.rand(20, 2) * 60 - 5
    boxes = torch.cat([corners, corners + 0.5 + torch.rand(20, 2) * 40], 1)
    masks = torch.rand(20, 28, 28)
    expected, _ = _do_paste_mask(masks[:, None], boxes, 48, 70, skip_empty=False)
    torch.testing.assert_close(paste(masks, boxes, (48, 70)), expected, atol=1e-4, rtol=0)
    flat = torch.tensor([[3.0, 3.0, 3.0, 9.0]])
    assert not (paste(masks[:1], flat, (48, 70)) >= 0.5).any()


@pytest.mark.parametrize(
    ("size", "target"), [((37, 53), (120, 171)), ((211, 97), (40, 64)), ((9, 300), (9, 300))]
)
def test_images_are_resized_as_opencv_and_pillow_do(size, target):
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    resized = opencv_linear(torch.from_numpy(picture), target).numpy()
    assert np.array_equal(resized, cv2.resize(picture, target[::-1]))
    resized = pillow_cubic(torch.from_numpy(picture), target).numpy().astype(int)
    expected = Image.fromarray(picture).resize(target[::-1], Image.Resampling.BICUBIC)
    difference = np.abs(resized - np.asarray(expected).astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


def test_sizes_and_crops_are_rounded_as_the_pipelines_do():
    for height, width in ((480, 640), (333, 500), (500, 333), (101, 1999)):
        scale = min(1333 / max(height, width), 800 / min(height, width))
        expected = tuple(int(side * scale + 0.5) for side in (height, width))
        step = {"type": "Resize", "scale": (1333, 800), "keep_ratio": True}
        assert _target(step, (height, width)) == expected
    step = {"type": "ResizeEdge", "scale": 256}
    assert _target(step, (480, 641)) == (256, 341)
    assert _target({"type": "Resize", "scale": (30, 20)}, (7, 9)) == (20, 30)
    assert _target({"type": "ResizeToMultiple"}, (64, 65)) == (64, 96)
    rows = torch.arange(9)[:, None, None].expand(9, 9, 3)
    for kept in range(1, 9):
        assert int(_center_crop(rows, kept)[0, 0, 0]) == round((9 - kept) / 2)


def test_unknown_steps_of_a_pipeline_are_named():
    preprocessor = SimpleNamespace(mean=torch.zeros(3), std=torch.ones(3))
    with pytest.raises(UserError, match="Corrupt"):
        Before([{"type": "Corrupt"}], preprocessor, "RGB")
    with pytest.raises(UserError, match="lanczos"):
        Before([{**RESIZE, "interpolation": "lanczos"}], preprocessor, "RGB")


def test_a_detection_matches_one_of_the_same_label_box_and_score():
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 40], [1, 1, 2, 2]])
    masks = torch.zeros(3, 50, 50, dtype=torch.bool)
    masks[0, :10, :10] = True
    theirs = Found(boxes, torch.tensor([0.9, 0.5, 0.01]), torch.tensor([1, 2, 3]), masks)
    found = match(theirs, theirs)
    assert (found.expected, found.matched, found.overlaps) == (2, 2, [1.0, 1.0])
    moved = theirs._replace(boxes=boxes + torch.tensor([0.05, 0, 0, 0]))
    found = match(moved, theirs)
    assert (found.matched, round(found.shift, 3)) == (2, 0.05)
    for change in (
        {"boxes": boxes + torch.tensor([0.2, 0, 0, 0])},
        {"scores": theirs.scores + 0.002},
        {"labels": theirs.labels + 1},
    ):
        assert match(theirs._replace(**change), theirs).matched == 0
    half = masks.clone()
    half[0, :5] = False
    assert match(theirs._replace(masks=half), theirs).overlaps[0] == 0.5
    twice = Found(*(torch.cat([entry[:1], entry[:1]]) for entry in theirs))
    assert match(theirs, twice).matched == 1


def test_suppression_within_groups_and_of_no_boxes():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 8]])
    scores, groups = torch.tensor([0.5, 0.9, 0.4]), torch.tensor([0, 0, 1])
    cfg = {"iou_threshold": 0.5}
    cfg = type("Cfg", (dict,), {"iou_threshold": 0.5})(cfg)
    assert suppress(boxes, scores, groups, cfg).tolist() == [1, 2]
    assert suppress(boxes[:0], scores[:0], groups[:0], cfg).tolist() == []
    cfg["class_agnostic"] = True
    assert suppress(boxes, scores, groups, cfg).tolist() == [1]


@pytest.mark.stack
def test_features_come_from_the_level_for_the_size_of_the_box():
    extractor = detector("mask_rcnn_uniformer_s").roi_head.bbox_roi_extractor
    torch.manual_seed(0)
    features = [torch.randn(1, 16, 512 // stride, 512 // stride) for stride in (4, 8, 16, 32)]
    sides = torch.tensor([10.0, 111, 113, 223, 225, 447, 449, 500])
    boxes = torch.stack([sides * 0, sides * 0, sides, sides], 1)[torch.randperm(8)]
    rois = torch.nn.functional.pad(boxes, (1, 0))
    torch.testing.assert_close(pool(extractor, features, boxes), extractor(features, rois))
