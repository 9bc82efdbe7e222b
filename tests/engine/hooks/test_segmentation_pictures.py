"""Which pictures of segmentation results are painted, and where they go."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import VISUALIZERS
from mmseg.structures import SegDataSample

from uniformer_mm.engine.hooks.segmentation_pictures import (
    GAP,
    LINE,
    SWATCH,
    SegmentationPicturesHook,
    legend,
    paint,
)


class Images:
    """A dataset that knows paths only."""

    def __init__(self, paths):
        self.paths = paths

    def __len__(self):
        return len(self.paths)

    def get_data_info(self, index):
        return {"img_path": self.paths[index]}


RED, GREEN = (255, 0, 0), (0, 255, 0)


@pytest.fixture
def runner(tmp_path):
    init_default_scope("mmseg")
    visualizer = VISUALIZERS.build(
        {
            "type": "SegLocalVisualizer",
            "name": str(tmp_path),  # visualizers of one name are one
            "vis_backends": [{"type": "LocalVisBackend"}],
            "save_dir": str(tmp_path / "logs"),
            "alpha": 1.0,
        }
    )
    visualizer.dataset_meta = {"classes": ("a", "b"), "palette": [RED, GREEN]}
    message_hub = MessageHub(str(tmp_path))
    message_hub.update_info("iter", 7)
    return SimpleNamespace(visualizer=visualizer, message_hub=message_hub)


@pytest.fixture
def samples(tmp_path):
    """The truth is class a, the prediction class b."""
    cv2.imwrite(str(tmp_path / "street.png"), np.zeros((200, 300, 3), np.uint8))
    truth = PixelData(data=torch.zeros(1, 200, 300, dtype=torch.long))
    prediction = PixelData(data=torch.ones(1, 200, 300, dtype=torch.long))
    sample = SegDataSample(gt_sem_seg=truth, pred_sem_seg=prediction)
    sample.set_metainfo({"img_path": str(tmp_path / "street.png")})
    return [sample]


def test_truth_is_left_and_prediction_right_in_a_file_named_as_the_image(runner, samples, tmp_path):
    hook = SegmentationPicturesHook(draw=True, out_dir=str(tmp_path / "out"))
    hook.after_test_iter(runner, 3, None, samples)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["street.jpg"]
    picture = cv2.imread(str(tmp_path / "out" / "street.jpg"))[..., ::-1]
    assert picture.shape == (200 + LINE, 300 + GAP + 300, 3)
    np.testing.assert_allclose(picture[100, 150], RED, atol=12)
    np.testing.assert_allclose(picture[100, 450 + GAP], GREEN, atol=12)


def test_while_validating_some_batches_are_painted(runner, samples, tmp_path):
    hook = SegmentationPicturesHook(draw=True, interval=3, out_dir=str(tmp_path / "out"))
    for batch in (0, 1, 3, 4):
        hook.after_val_iter(runner, batch, None, samples)
    assert not (tmp_path / "out").exists()
    hook.after_val_iter(runner, 5, None, samples)
    assert (tmp_path / "out" / "street.jpg").is_file()


def test_without_a_folder_the_visualizer_keeps_them(runner, samples, tmp_path):
    SegmentationPicturesHook(draw=True).after_test_iter(runner, 0, None, samples)
    assert [path.name for path in (tmp_path / "logs").rglob("*.png")] == ["street_7.png"]


def test_images_of_equal_names_have_pictures_of_their_own(runner, samples, tmp_path):
    """In other folders, or of other suffixes; one of two classes is a float in mmseg."""
    images = ["a/1.png", "b/1.png", "b/1.jpg", "b/2.png"]
    dataset = Images([str(tmp_path / name) for name in images])
    runner.test_dataloader = SimpleNamespace(dataset=dataset)
    hook = SegmentationPicturesHook(draw=True, out_dir=str(tmp_path / "out"))
    hook.before_test(runner)
    for index, path in enumerate(dataset.paths):
        Path(path).parent.mkdir(exist_ok=True)
        cv2.imwrite(path, np.zeros((200, 300, 3), np.uint8))
        (sample,) = samples
        sample.set_metainfo({"img_path": path})
        sample.pred_sem_seg.data = torch.full((1, 200, 300), index % 2).float()
        hook.after_test_iter(runner, index, None, [sample])
    written = sorted(
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.jpg")
    )
    assert written == ["a/1.jpg", "b/1.jpg.jpg", "b/1.png.jpg", "b/2.jpg"]


def test_nothing_is_painted_unless_asked_for(runner, samples, tmp_path):
    hook = SegmentationPicturesHook(interval=1, out_dir=str(tmp_path / "out"))
    hook.after_val_iter(runner, 0, None, samples)
    hook.after_test_iter(runner, 0, None, samples)
    assert not (tmp_path / "out").exists()


def test_colours_are_laid_over_the_image_but_not_where_nothing_is_labelled():
    image = np.full((40, 300, 3), 100, np.uint8)
    labels = np.zeros((40, 300), np.int64)
    labels[:, :100], labels[:, 100:200] = 1, 255
    picture = paint(image, [labels], ("a", "b"), (RED, GREEN), opacity=0.25)
    assert picture[20, 50].tolist() == [75, 139, 75]
    assert picture[20, 150].tolist() == [100, 100, 100]
    assert picture[20, 250].tolist() == [139, 75, 75]


def test_the_legend_has_the_classes_in_the_picture_only():
    labels = np.full((40, 300), 1)
    picture = paint(np.zeros((40, 300, 3), np.uint8), [labels], "abc", (RED, GREEN, RED), 1.0)
    strip = picture[40:].reshape(-1, 3).tolist()
    assert strip.count(list(GREEN)) == SWATCH**2
    assert list(RED) not in strip


def test_a_long_legend_takes_more_lines_and_cuts_no_name():
    entries = [("wardrobe", RED), ("chest of drawers", GREEN)] * 4
    strip = legend(400, entries)
    assert len(strip) > LINE
    assert (strip[:, -GAP:] == 255).all()
    assert (strip == RED).all(axis=2).sum() == (strip == GREEN).all(axis=2).sum() == 4 * SWATCH**2
