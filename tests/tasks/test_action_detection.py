"""Action detection on synthetic data in AVA's format: files, boxes, drawings and faults."""

import pickle

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, init_default_scope
from mmengine.structures import InstanceData
from small_models import read_config

from uniformer_mm.apis.config import check_data
from uniformer_mm.apis.inference import Inferencer
from uniformer_mm.datasets.synthetic.ava import (
    AXES,
    CLASSES,
    KEY_FRAME,
    NUM_FRAMES,
    ActionScene,
    SyntheticAva,
)
from uniformer_mm.engine.hooks.draw_predictions import input_source, prediction_type
from uniformer_mm.errors import UserError
from uniformer_mm.tasks import TASKS, task_of
from uniformer_mm.tasks.action_detection import check_list
from uniformer_mm.visualization import PersonActions

CONFIG = "configs/video/fast_rcnn_uniformer_s_16x4_ava21.py"
LINE = "a,0001,0.1,0.2,0.5,0.6,1,0\n"


@pytest.fixture(scope="module")
def cfg(tmp_path_factory):
    """The config on two synthetic videos, with few blocks."""
    cfg = read_config(CONFIG)
    task_of(cfg).use_synthetic_data(cfg, 2, tmp_path_factory.mktemp("action_detection"))
    cfg.model.backbone.arch = {"depths": (1, 1, 1, 1)}
    return cfg


@pytest.fixture(scope="module")
def inferencer(cfg):
    return Inferencer(cfg, random_weights=True, threshold=0.0)


def test_shapes_are_at_their_boxes_in_the_annotated_frame_and_move_in_their_directions():
    scene = ActionScene(96, np.random.default_rng(1))
    assert not scene.offsets(KEY_FRAME).any()
    for action, before, after in zip(
        scene.actions, scene.offsets(0), scene.offsets(NUM_FRAMES - 1), strict=True
    ):
        axis, backwards = divmod(int(action) - 1, 2)
        moved = (after - before) @ np.array(AXES).T
        assert moved[1 - axis] == 0
        assert (moved[axis] < 0) == bool(backwards), CLASSES[action]
        assert abs(moved[axis]) >= 0.39 * scene.shorter_side
    assert ((scene.boxes() >= 0) & (scene.boxes() <= 1)).all()


def test_files_are_those_that_mmaction_reads(tmp_path):
    root = SyntheticAva(num_train=2, num_val=1, image_size=64).make(tmp_path / "ava")
    rows = [line.split(",") for line in (root / "ava_train.csv").read_text().splitlines()]
    check_list(str(root / "ava_train.csv"), len(CLASSES))
    proposals = pickle.loads((root / "ava_proposals_train.pkl").read_bytes())
    assert {f"{row[0]},{row[1]}" for row in rows} == set(proposals)
    for key, found in proposals.items():
        boxes = np.float64([row[2:6] for row in rows if ",".join(row[:2]) == key])
        np.testing.assert_allclose(found[:, :4], boxes, atol=0.1)


@pytest.mark.stack
def test_the_middle_of_a_sample_is_the_annotated_frame(cfg):
    init_default_scope("mmaction")
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    sampled = dataset.pipeline.transforms[0](dataset.get_data_info(0))["frame_inds"]
    assert sampled[len(sampled) // 2] == KEY_FRAME + 1, "files are numbered from 1"
    assert dataset.metainfo["classes"] == CLASSES


@pytest.mark.stack
def test_whole_run_has_the_task_of_its_head(cfg):
    task = task_of(cfg)
    assert type(task).__name__ == "ActionDetection"
    assert task_of(read_config("configs/video/uniformer_s_8x8_k400.py")) is TASKS["mmaction"]
    cfg.launcher = "none"
    check_data(cfg, ("train", "val", "test"))
    assert cfg.model.roi_head.bbox_head.num_classes == 5
    assert "Flip" not in {step["type"] for step in cfg.train_dataloader.dataset.pipeline}


@pytest.mark.stack
def test_actions_are_predicted_in_the_boxes_of_the_middle_frame(inferencer):
    frames = np.zeros((12, 60, 100, 3), np.uint8)
    frames[6] = 200
    boxes = [[10, 5, 60, 50], [0, 0, 100, 60]]
    found = inferencer.predict(frames, boxes=boxes)
    np.testing.assert_allclose(found.boxes, boxes, atol=1e-3)
    assert found.scores.shape == (2, 5)
    written = found.to_dict()["persons"]
    assert [person["bbox"] for person in written] == [[10, 5, 50, 45], [0, 0, 100, 60]]
    assert {action["class"] for action in written[0]["actions"]} <= set(CLASSES[1:])
    assert len(written[0]["actions"]) == 3
    drawn = found.draw()
    assert drawn.shape == frames.shape[1:]
    assert drawn.mean() > 100, "the middle frame"
    np.testing.assert_allclose(inferencer.predict(frames).boxes, [[0, 0, 100, 60]], atol=1e-3)
    inferencer.people = {("array", None): np.float32([[1, 2, 30, 40]])}
    found = inferencer.predict(frames)
    np.testing.assert_allclose(found.boxes, [[1, 2, 30, 40]], atol=1e-3)
    inferencer.people = None


@pytest.mark.stack
def test_predictions_are_drawn_next_to_the_ground_truth(cfg, inferencer):
    init_default_scope("mmaction")
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    batch = pseudo_collate([dataset[0]])
    with torch.inference_mode():
        (sample,) = inferencer.model.test_step(batch)
    assert prediction_type(sample) is PersonActions
    source = input_source("clip", batch["inputs"][0])
    assert source.images.shape[0] == 8
    prediction = PersonActions.from_samples(source, [sample], dataset.metainfo, 0.3)
    expected = PersonActions.from_ground_truth(source, [sample], dataset.metainfo)
    height, width = source.image.shape[:2]
    info = dataset.get_data_info(0)
    pixels = info["gt_bboxes"] * (width, height, width, height)
    np.testing.assert_allclose(expected.boxes, pixels, atol=1)
    assert [expected.best(person)[0][0] for person in range(len(pixels))] == [
        int(label.argmax()) for label in info["gt_labels"]
    ]
    assert prediction.compare(expected).shape[1] > 2 * width - 1
    sample.pred_instances = InstanceData(labels=torch.zeros(0))
    assert prediction_type(sample) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: expected lines of video, second"),
        ("a,0001,0.1,0.2,0.5,0.6,1\n", "line 1: expected video"),
        (LINE + "a,0001,0.1,0.2,0.5,0.6,one,0\n", "line 2: expected numbers"),
        ("a,0001,0.5,0.2,0.1,0.6,1,0\n", "line 1: the box must have x1 < x2"),
        ("a,0001,10,20,50,60,1,0\n", "in shares of the frame"),
        ("a,0001,0.1,0.2,0.5,0.6,5,0\n", "from 1 to 4, by num_classes=5"),
        ("a,0001,0.1,0.2,0.5,0.6,0,0\n", "from 1 to 4"),
    ],
)
def test_faults_of_a_list_are_named(tmp_path, text, message):
    path = tmp_path / "ava.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        check_list(str(path), 5)
    assert str(path) in str(caught.value)
    path.write_text(LINE)
    check_list(str(path), 5)


@pytest.mark.stack
def test_a_file_that_does_not_exist_is_named(cfg, tmp_path):
    dataset = cfg.val_dataloader.dataset
    proposals, dataset.proposal_file = dataset.proposal_file, str(tmp_path / "none.pkl")
    with pytest.raises(UserError, match=r"no proposal_file .*none\.pkl"):
        task_of(cfg).check_data(cfg, ("val",))
    dataset.proposal_file = proposals
