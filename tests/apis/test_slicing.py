"""Large images are predicted in slices; attention is set at test time."""

from argparse import Namespace

import numpy as np
import pytest
from small_models import CONFIGS, build_inferencer, inference_options, read_config

from uniformer_mm import Inferencer
from uniformer_mm.apis.config import apply_cli
from uniformer_mm.apis.slicing import detect_in_slices
from uniformer_mm.datasets.media import Frame
from uniformer_mm.errors import UserError
from uniformer_mm.visualization import Detections

pytestmark = pytest.mark.stack


def bright_objects(frames, with_masks):
    """Detect blue pixels as one object of class b and red ones as one of class a.

    The score is higher the more of the object the image has.
    """
    results = []
    for frame in frames:
        found = {label: frame.image[..., channel] > 0 for label, channel in ((1, 0), (0, 2))}
        found = {label: mask for label, mask in found.items() if mask.any()}
        corners = [np.argwhere(mask)[:, ::-1] for mask in found.values()]
        boxes = [[*points.min(0), *(points.max(0) + 1)] for points in corners]
        result = Detections(frame, {"classes": ("a", "b")})
        result.boxes = np.array(boxes, np.float32).reshape(-1, 4)
        result.labels = np.array(list(found), np.int64)
        result.scores = np.array([mask.sum() / 4000 for mask in found.values()], np.float32)
        masks = np.array(list(found.values()), bool).reshape(-1, *frame.image.shape[:2])
        result.masks = masks if with_masks else None
        results.append(result)
    return results


@pytest.mark.parametrize("with_masks", [False, True])
def test_an_object_in_several_slices_is_found_once(with_masks):
    pytest.importorskip("sahi")
    image = np.zeros((100, 180, 3), np.uint8)
    image[20:60, 30:120, 0] = 255
    image[70:90, 5:25, 2] = 255
    shapes = []

    def detect(frames):
        shapes.extend(frame.image.shape[:2] for frame in frames)
        return bright_objects(frames, with_masks)

    found = detect_in_slices(Frame("a.png", image), 64, 0.25, detect)
    assert shapes == [(64, 64)] * 8 + [(100, 180)]
    assert found.source.image is image
    assert found.names == ["b", "a"]
    np.testing.assert_allclose(found.scores, [0.9, 0.1])
    np.testing.assert_allclose(found.boxes, [[30, 20, 120, 60], [5, 70, 25, 90]], atol=1)
    if with_masks:
        expected = image[..., [0, 2]].transpose(2, 0, 1) > 0
        union, overlap = (found.masks | expected).sum(), (found.masks & expected).sum()
        assert overlap / union > 0.98
    else:
        assert found.masks is None


def test_objects_one_pixel_wide_keep_a_mask():
    """Their contours have no area, on which SAHI fails."""
    pytest.importorskip("sahi")
    image = np.zeros((64, 96, 3), np.uint8)
    image[10:40, 50] = 255
    found = detect_in_slices(
        Frame("a.png", image), 64, 0.5, lambda frames: bright_objects(frames, with_masks=True)
    )
    assert found.masks[:, 12:38, 50].all()
    assert found.masks.sum((1, 2)).max() < 80


def test_an_image_smaller_than_a_slice_is_predicted_once():
    pytest.importorskip("sahi")
    calls = []

    def detect(frames):
        calls.append(len(frames))
        return bright_objects(frames, with_masks=True)

    found = detect_in_slices(Frame("a.png", np.zeros((40, 50, 3), np.uint8)), 64, 0.2, detect)
    assert calls == [1]
    assert found.boxes.shape == (0, 4)
    assert found.masks.shape == (0, 40, 50)


def test_a_segmenter_slides_over_an_image_at_its_own_size():
    inferencer = build_inferencer("seg", slices=(64, 0.25))
    sizes = []
    handle = inferencer.model.backbone.register_forward_hook(
        lambda _, inputs, output: sizes.append(tuple(inputs[0].shape[-2:]))
    )
    labels = inferencer.predict(np.zeros((100, 150, 3), np.uint8)).labels
    handle.remove()
    assert labels.shape == (100, 150)
    assert inferencer.model.test_cfg.stride == (48, 48)
    assert sizes == [(64, 64)] * 2 * 3


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("cls", {"slices": (64, 0.2)}, "for detection and segmentation, not for mmpretrain"),
        ("seg", {"slices": (8, 0.2)}, "at least 32 pixels"),
        ("seg", {"slices": (64, 1.0)}, "below 1, got 64 and 1.0"),
        ("cls", {"window_size": 7}, "global attention has no windows"),
        ("seg", {"attention": "both"}, "'both'"),
    ],
)
def test_mistakes_are_named(task, options, message):
    with pytest.raises(UserError, match=message):
        build_inferencer(task, **options)


def test_settings_of_a_config_are_refused_for_a_model(inferencer_of):
    with pytest.raises(UserError, match="settings of its config"):
        Inferencer(inferencer_of("seg").model, slices=(64, 0.2))


def test_attention_is_set_by_the_command_line():
    cfg = read_config(CONFIGS["seg"])
    apply_cli(cfg, Namespace(config=CONFIGS["seg"], attention="window", window_size=32))
    assert (cfg.model.backbone.attention, cfg.model.backbone.window_size) == ("window", 32)
    cfg.model.backbone = {"type": "ResNet"}
    with pytest.raises(UserError, match="not for the backbone ResNet"):
        apply_cli(cfg, Namespace(config=CONFIGS["seg"], attention="window"))


def test_attention_is_set_at_test_time():
    cfg = read_config(CONFIGS["seg"])
    options = inference_options("seg")
    options["model"]["backbone"]["arch"]["depths"] = (1, 1, 4, 1)
    inferencer = Inferencer(
        cfg, random_weights=True, cfg_options=options, attention="hybrid", window_size=32
    )
    assert [block.window_size for block in inferencer.model.backbone.blocks3] == [32, 32, 32, 0]
