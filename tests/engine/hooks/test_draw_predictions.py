"""Predictions of every task are drawn next to the ground truth, into files with distinct names."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.registry import HOOKS
from mmengine.structures import BaseDataElement, InstanceData, PixelData
from mmengine.visualization import Visualizer

from uniformer_mm.engine.hooks import FORMER_NAMES
from uniformer_mm.engine.hooks.draw_predictions import (
    DrawPredictionsHook,
    distinct_names,
    input_source,
)
from uniformer_mm.visualization.drawing import GAP

HEIGHT, WIDTH = 320, 480
RED, BLUE = (255, 0, 0), (0, 0, 255)
META = {
    "classes": ("a", "b"),
    "palette": [RED, BLUE],
    "keypoint_id2name": {0: "head", 1: "foot"},
    "skeleton_links": [(0, 1)],
    "skeleton_link_colors": [RED],
    "keypoint_colors": [RED, RED],
}


class Images(list):
    """A dataset that knows paths only."""

    metainfo = META

    def get_data_info(self, index):
        return {"img_path": self[index]}


def build(**options):
    return HOOKS.build({"type": "mmengine.DrawPredictionsHook", "enable": True, **options})


@pytest.fixture
def runner(tmp_path):
    visualizer = Visualizer(
        vis_backends=[{"type": "LocalVisBackend"}], save_dir=str(tmp_path / "logs")
    )
    visualizer.dataset_meta = META
    message_hub = MessageHub(str(tmp_path))
    message_hub.update_info("iter", 7)
    return SimpleNamespace(
        visualizer=visualizer, message_hub=message_hub, model=torch.nn.Module(), cfg={}
    )


def write_black(path):
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    return str(path)


def segmented(path, labels=1):
    maps = {
        "gt_sem_seg": torch.zeros(1, HEIGHT, WIDTH, dtype=torch.long),
        "pred_sem_seg": torch.full((1, HEIGHT, WIDTH), float(labels)),  # of two classes: a float
    }
    data = {name: PixelData(data=values) for name, values in maps.items()}
    return BaseDataElement(metainfo={"img_path": path}, **data)


def detected(path):
    box = torch.tensor([[10.0, 20, 290, 190]])
    mask = torch.ones(1, HEIGHT, WIDTH, dtype=torch.bool)
    truth = InstanceData(bboxes=box, labels=torch.tensor([0]), masks=mask)
    found = InstanceData(
        bboxes=box, labels=torch.tensor([1]), masks=mask, scores=torch.tensor([0.9])
    )
    return BaseDataElement(metainfo={"img_path": path}, gt_instances=truth, pred_instances=found)


def person(path, x, box_score=1.0):
    found = InstanceData(
        keypoints=np.array([[[x, 40.0], [x, 160.0]]]),
        keypoint_scores=np.ones((1, 2)),
        bboxes=np.array([[x - 20.0, 20, x + 20, 180]]),
        bbox_scores=np.array([box_score]),
    )
    return BaseDataElement(metainfo={"img_path": path, "img_id": 5}, pred_instances=found)


def classified(**metainfo):
    return BaseDataElement(
        metainfo=metainfo, gt_label=torch.tensor([0]), pred_score=torch.tensor([0.0, 1.0])
    )


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg"))


@pytest.mark.parametrize("predict", [segmented, detected])
def test_ground_truth_is_left_and_prediction_right(runner, tmp_path, predict):
    path = write_black(tmp_path / "street.png")
    build(out_dir=str(tmp_path / "out")).after_test_iter(runner, 3, None, [predict(path)])
    assert files(tmp_path / "out") == ["street.jpg"]
    drawn = cv2.imread(str(tmp_path / "out" / "street.jpg"))[..., ::-1]
    assert drawn.shape[1] == 2 * WIDTH + GAP
    assert drawn[150, 150].argmax() == 0
    other = drawn[150, WIDTH + GAP + 150]
    assert other.argmax() != 0, "another class, or an object that is not in the ground truth"
    assert (drawn[:5, WIDTH] > 250).all(), "white around the images"


@pytest.mark.parametrize(("predict", "usual"), [(segmented, 0.6), (detected, 0.45)])
def test_the_opacity_is_the_configs(runner, tmp_path, predict, usual):
    path = write_black(tmp_path / "street.png")
    brightness = []
    for cfg in ({}, {"visualizer": {"alpha": 0.2}}):
        runner.cfg = cfg
        build(out_dir=str(tmp_path / "out")).after_test_iter(runner, 3, None, [predict(path)])
        brightness.append(cv2.imread(str(tmp_path / "out" / "street.jpg"))[150, 150].max())
    assert brightness[0] / brightness[1] == pytest.approx(usual / 0.2, rel=0.05)


def test_persons_of_an_image_are_drawn_together_with_its_annotations(runner, tmp_path):
    pytest.importorskip("xtcocotools")
    path = write_black(tmp_path / "street.png")
    annotation = {"id": 1, "image_id": 5, "category_id": 1, "iscrowd": 0, "area": 6400}
    annotation["bbox"] = [130, 20, 40, 160]
    annotation["keypoints"] = [150, 40, 2, 150, 160, 1]
    content = {"images": [{"id": 5}], "annotations": [annotation], "categories": []}
    (tmp_path / "truth.json").write_text(json.dumps(content))
    dataset = SimpleNamespace(bbox_file="boxes.json", ann_file=str(tmp_path / "truth.json"))
    runner.test_dataloader = SimpleNamespace(dataset=dataset)
    hook = build(out_dir=str(tmp_path / "out"))
    hook.before_test(runner)
    for batch, sample in enumerate((person(path, 50), person(path, 250), person(path, 150, 0.1))):
        hook.after_test_iter(runner, batch, None, [sample])
    assert not (tmp_path / "out").exists()
    hook.after_test_epoch(runner)
    drawn = cv2.imread(str(tmp_path / "out" / "street.jpg"))[-HEIGHT + 100, :, 2]
    red = [x for x in (50, 150, 250, *(WIDTH + GAP + x for x in (50, 150, 250))) if drawn[x] > 150]
    assert red == [150, WIDTH + GAP + 50, WIDTH + GAP + 250]  # boxes of low score are left out


def test_persons_of_due_images_are_drawn_in_validation(runner, tmp_path):
    paths = [write_black(tmp_path / name) for name in ("a.png", "b.png", "c.png")]
    runner.val_dataloader = SimpleNamespace(dataset=SimpleNamespace())
    hook = build(interval=2, out_dir=str(tmp_path / "out"))
    hook.before_val(runner)
    batches = [[(0, 50), (0, 250)], [(1, 50), (0, 400)], [(2, 50)]]  # image and x of each person
    for index, batch in enumerate(batches):
        hook.after_val_iter(runner, index, None, [person(paths[i], x) for i, x in batch])
    hook.after_val_epoch(runner)
    assert files(tmp_path / "out") == ["a.jpg", "c.jpg"]
    drawn = cv2.imread(str(tmp_path / "out" / "a.jpg"))[100, :, 2]
    assert [x for x in (50, 250, 400, 450) if drawn[x] > 150] == [50, 250, 400]
    hook.after_val_epoch(runner)
    assert files(tmp_path / "out") == ["a.jpg", "c.jpg"], "persons are drawn once"


@pytest.mark.parametrize("shape", [(2, 3, 8, 32, 32), (8, 3, 32, 32), (3, 32, 32)])
def test_samples_without_an_image_file_are_drawn_from_the_input(runner, tmp_path, shape):
    samples = [classified(filename="videos/a.mp4"), classified()]
    batch = {"inputs": [torch.zeros(shape, dtype=torch.uint8)] * 2}
    build(out_dir=str(tmp_path / "out")).after_test_iter(runner, 3, batch, samples)
    assert files(tmp_path / "out") == ["a.jpg", "batch_3_sample_1.jpg"]


def test_validation_draws_one_sample_of_some_batches_to_the_visualizer(runner, tmp_path):
    hook = build(interval=2)
    batch = {"inputs": [torch.zeros(3, 32, 32, dtype=torch.uint8)] * 2}
    for index in range(4):
        samples = [classified(filename=f"{index}_{k}.mp4") for k in range(2)]
        hook.after_val_iter(runner, index, batch, samples)
    assert sorted(path.name for path in tmp_path.rglob("*.png")) == ["0_0_7.png", "2_0_7.png"]


def test_a_window_shows_them_only_if_enabled(runner, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(runner.visualizer, "show", lambda _, **options: shown.append(options))
    path = write_black(tmp_path / "street.png")
    options = {"show": True, "wait_time": 0.5}
    build(**options).after_test_iter(runner, 0, None, [segmented(path)])
    build(enable=False, **options).after_test_iter(runner, 0, None, [segmented(path)])
    assert shown == [{"win_name": "street", "wait_time": 0.5}]


def test_predictions_of_other_tasks_are_left_to_the_visualizer(runner, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        runner.visualizer, "add_datasample", lambda *_, out_file, **__: drawn.append(out_file)
    )
    path = write_black(tmp_path / "street.png")
    panoptic = BaseDataElement(metainfo={"img_path": path}, pred_panoptic_seg=PixelData())
    build(out_dir="out").after_test_iter(runner, 0, None, [panoptic])
    assert drawn == ["out/street.jpg"]


def test_images_of_one_name_are_drawn_to_different_files(runner, tmp_path):
    names = ["a/1.png", "b/1.png", "b/1.jpg", "b/2.png"]
    paths = [write_black(tmp_path / name) for name in names]
    runner.test_dataloader = SimpleNamespace(dataset=Images(paths))
    hook = build(out_dir=str(tmp_path / "out"))
    hook.before_test(runner)
    hook.after_test_iter(runner, 0, None, [segmented(path) for path in paths])
    assert files(tmp_path / "out") == ["a/1.jpg", "b/1.jpg.jpg", "b/1.png.jpg", "b/2.jpg"]


def test_configs_of_earlier_versions_build_it():
    kinds = {type(HOOKS.build({"type": f"mmengine.{name}"})) for name in FORMER_NAMES}
    assert kinds == {DrawPredictionsHook}


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["data/val/1.jpg", "data/val/2.jpg"], ["1", "2"]),
        (["val/1.jpg", "val/1.png", "val/2.png"], ["1.jpg", "1.png", "2"]),
        (["/x/a_b/1.jpg", "/x/a/b_1.jpg"], ["a_b/1", "a/b_1"]),
        ([], []),
    ],
)
def test_names_have_the_folders_below_the_common_one(paths, names):
    assert [distinct_names(paths)[path] for path in paths] == names


def test_inputs_are_converted_from_both_layouts_of_clips():
    frames = torch.arange(4 * 3 * 2 * 2, dtype=torch.uint8).view(4, 3, 2, 2)  # T, C, H, W
    expected = frames.permute(0, 2, 3, 1).numpy()[..., ::-1]
    np.testing.assert_array_equal(input_source("", frames).images, expected)
    views = torch.stack((frames.movedim(0, 1), torch.zeros(3, 4, 2, 2)))
    np.testing.assert_array_equal(input_source("", views).images, expected)
    np.testing.assert_array_equal(input_source("", frames[0]).image, expected[0][..., ::-1])
