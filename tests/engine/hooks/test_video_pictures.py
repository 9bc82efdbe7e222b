"""Pictures of videos: frames in order, truth and prediction in words."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement
from mmengine.visualization import Visualizer

from uniformer_mm.engine.hooks.classification_pictures import read_enlarged
from uniformer_mm.engine.hooks.video_pictures import (
    CAPTION_HEIGHT,
    FRAME_HEIGHT,
    GAP,
    VideoPicturesHook,
    captions,
    contact_sheet,
    frames_of,
)
from uniformer_mm.visualization.drawing import LARGEST_SIDE

CLASSES = ("left", "right")


def sample(score, truth=0, **metainfo):
    score = torch.tensor(score)
    return BaseDataElement(
        metainfo=metainfo,
        gt_label=torch.tensor([truth]),
        pred_label=score.argmax(keepdim=True),
        pred_score=score,
    )


def runner(folder):
    visualizer = Visualizer(vis_backends=[{"type": "LocalVisBackend"}], save_dir=str(folder))
    visualizer.dataset_meta = {"classes": CLASSES}
    model = torch.nn.Module()
    return SimpleNamespace(visualizer=visualizer, iter=7, model=model)


def batch(count):
    return {"inputs": [torch.zeros(2, 3, 8, 32, 32, dtype=torch.uint8)] * count}


@pytest.mark.parametrize("count", [1, 3, 8, 25])
def test_frames_are_shown_in_order(count):
    shades = np.linspace(40, 240, count).astype(np.uint8)
    frames = np.broadcast_to(shades[:, None, None, None], (count, 20, 30, 3))
    sheet = contact_sheet(np.ascontiguousarray(frames))
    shown = min(count, 8)
    width = round(FRAME_HEIGHT * 30 / 20) + GAP
    middles = [
        sheet[CAPTION_HEIGHT + row * (FRAME_HEIGHT + GAP) + 9, column * width + 9, 0]
        for row, column in (divmod(index, 4) for index in range(shown))
    ]
    assert middles == shades[np.linspace(0, count - 1, shown).astype(int)].tolist()
    assert not sheet[:CAPTION_HEIGHT].any()


def test_frames_of_both_kinds_of_inputs():
    frames = torch.arange(4 * 3 * 2 * 2, dtype=torch.uint8).view(4, 3, 2, 2)  # T, C, H, W
    expected = frames.permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(frames_of(frames), expected)
    views = torch.stack((frames.movedim(0, 1), torch.zeros(3, 4, 2, 2)))
    np.testing.assert_array_equal(frames_of(views), expected)


def test_captions_have_names_and_probabilities():
    scores = torch.tensor([0.25, 0.75])
    assert captions([0], scores, CLASSES)[1] == ("prediction: right, 0.75", "orangered")
    texts = captions([1], scores, CLASSES)
    assert texts == [("truth: right", "white"), ("prediction: right, 0.75", "lime")]
    assert captions([0], scores, None)[0] == ("truth: class 0", "white")


def test_captions_of_several_labels_have_as_many_predictions():
    scores = torch.tensor([0.9, 0.2, 0.8])
    names = ("run", "sit", "wave")
    assert captions([0, 2], scores, names) == [
        ("truth: run; wave", "white"),
        ("prediction: run, 0.90; wave, 0.80", "lime"),
    ]
    assert captions([0, 1], scores, names)[1][1] == "orangered"
    assert captions([], scores, names)[0] == ("truth: no class", "white")


def test_all_tested_videos_are_painted_under_their_names(tmp_path):
    hook = VideoPicturesHook(enable=True, out_dir=str(tmp_path / "pictures"))
    samples = [sample([0.0, 1.0], filename="videos/a.mp4"), sample([0.0, 1.0])]
    hook.after_test_iter(runner(tmp_path), 3, batch(2), samples)
    names = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert names == {"a.jpg", "batch_3_video_1.jpg"}
    picture = cv2.imread(str(tmp_path / "pictures" / "a.jpg"))
    assert picture[:CAPTION_HEIGHT].max() > 200


def test_validation_paints_one_video_now_and_then_into_the_visualizers_folder(tmp_path):
    hook = VideoPicturesHook(enable=True, interval=2)
    run = runner(tmp_path)
    for index in range(4):
        names = [sample([0.0, 1.0], filename=f"{index}_{k}.mp4") for k in range(2)]
        hook.after_val_iter(run, index, batch(2), names)
    painted = sorted(path.name for path in tmp_path.rglob("*.png"))
    assert painted == ["0_0_7.png", "2_0_7.png"]


def test_by_default_nothing_is_painted(tmp_path):
    hook = VideoPicturesHook(out_dir=str(tmp_path / "pictures"))
    hook.after_test_iter(runner(tmp_path), 0, batch(1), [sample([0.0, 1.0])])
    hook.after_val_iter(runner(tmp_path), 0, batch(1), [sample([0.0, 1.0])])
    assert not list(tmp_path.rglob("*.jpg")) + list(tmp_path.rglob("*.png"))


def test_a_window_shows_them(tmp_path, monkeypatch):
    shown = []
    run = runner(tmp_path)
    monkeypatch.setattr(
        run.visualizer, "show", lambda _, win_name, wait_time: shown.append((win_name, wait_time))
    )
    hook = VideoPicturesHook(enable=True, show=True, wait_time=0.5, out_dir=str(tmp_path))
    hook.after_test_iter(run, 0, batch(1), [sample([0.0, 1.0], filename="a.mp4")])
    assert shown == [("a", 0.5)]


@pytest.mark.parametrize("size", [(4, 20_000), (20_000, 4)])
def test_pictures_of_stripes_stay_small(tmp_path, size):
    stripe = np.zeros((*size, 3), np.uint8)
    assert max(contact_sheet(np.stack([stripe] * 2)).shape) < 4500
    cv2.imwrite(str(tmp_path / "stripe.png"), stripe)
    assert max(read_enlarged(str(tmp_path / "stripe.png")).shape) == LARGEST_SIDE
