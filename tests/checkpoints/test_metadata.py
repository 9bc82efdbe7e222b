"""Converted checkpoints name their classes, and never wrongly."""

from pathlib import Path

import pytest

from uniformer_mm.apis.launch import load_config
from uniformer_mm.checkpoints import CheckpointError
from uniformer_mm.checkpoints.metadata import CLASS_LISTS, checkpoint_meta

ROOT = Path(__file__).resolve().parents[2]
OFFICIAL = {"state_dict": {}}

# config: (number of classes, some of them by number, whether they have colours)
CASES = {
    "det/mask_rcnn_uniformer_s": (80, {0: "person", 79: "toothbrush"}, True),
    "seg/upernet_uniformer_s_h14": (150, {0: "wall", 149: "flag"}, True),
    "cls/uniformer_s_in1k": (1000, {1: "goldfish, Carassius auratus"}, False),
    "video/uniformer_s_16x8_k400": (400, {0: "riding a bike", 1: "marching"}, False),
    "video/uniformer_s_16x8_k600": (600, {0: "feeding fish"}, False),
    "video/uniformer_s_16_sthv1_prek400": (
        174,
        {0: "Approaching something with your camera"},
        False,
    ),
    # Numbers of the first videos of the validation set.
    "video/uniformer_s_16_sthv2_prek400": (
        174,
        {
            140: "Spinning something that quickly stops spinning",
            127: "Showing something on top of something",
        },
        False,
    ),
    "video/uniformer_s_16x4_ucf101": (101, {0: "ApplyEyeMakeup"}, False),
    "video/uniformer_s_16x4_hmdb51": (51, {0: "brush hair"}, False),
}


def config(name):
    return load_config(str(ROOT / "configs" / f"{name}.py"))


@pytest.mark.parametrize("name", CASES)
def test_official_files_get_the_classes_of_the_benchmark(name):
    count, some, coloured = CASES[name]
    meta = checkpoint_meta(config(name), OFFICIAL, "official.pth")
    assert len(meta["classes"]) == count
    assert {number: meta["classes"][number] for number in some} == some
    assert len(meta.get("palette", ())) == (count if coloured else 0)


def test_pose_estimators_get_their_joints():
    meta = checkpoint_meta(config("pose/td_hm_uniformer_s_256x192"), OFFICIAL, "official.pth")
    assert meta["num_keypoints"] == 17
    assert meta["keypoint_id2name"][0] == "nose"


def test_mmaction_numbers_the_classes_of_kinetics_in_its_own_way():
    cfg = config("video/uniformer_s_16x4_k400")
    name = "uniformer-small_imagenet1k-pre_16x4x1_kinetics400-rgb_20221219-c630a037.pth"
    theirs = checkpoint_meta(cfg, OFFICIAL, Path("cache", name))["classes"]
    ours = checkpoint_meta(cfg, OFFICIAL, "uniformer_small_k400_16x4.pth")["classes"]
    assert theirs[:2] == ("abseiling", "air drumming")
    assert theirs == tuple(sorted(ours))
    assert theirs != ours


def test_what_a_checkpoint_says_has_the_last_word():
    cfg = config("det/mask_rcnn_uniformer_s")
    for head in (cfg.model.roi_head.bbox_head, cfg.model.roi_head.mask_head):
        head.num_classes = 2
    own = {"classes": ("cat", "dog"), "palette": [(1, 2, 3), (4, 5, 6)]}
    assert checkpoint_meta(cfg, {"meta": {"dataset_meta": own}}, "epoch_1.pth") == own
    capitals = {"CLASSES": ("cat", "dog")}  # of MM 1.x
    assert checkpoint_meta(cfg, {"meta": capitals}, "epoch_1.pth") == {"classes": ("cat", "dog")}


def test_colours_of_the_benchmark_go_with_its_classes():
    cfg = config("det/mask_rcnn_uniformer_s")
    classes = checkpoint_meta(cfg, OFFICIAL, "official.pth")["classes"]
    meta = checkpoint_meta(cfg, {"meta": {"CLASSES": classes}}, "official.pth")
    assert len(meta["palette"]) == 80


def test_classes_that_a_training_did_not_know_stay_unknown():
    """The user's list of videos may number them differently than the authors'."""
    cfg = config("video/uniformer_s_16x8_k400")
    assert "classes" not in checkpoint_meta(cfg, {"meta": {"dataset_meta": {}}}, "epoch_1.pth")


def test_names_of_other_classes_than_the_model_has_are_refused():
    cfg = config("det/mask_rcnn_uniformer_s")
    for head in (cfg.model.roi_head.bbox_head, cfg.model.roi_head.mask_head):
        head.num_classes = 2
    with pytest.raises(CheckpointError, match="names of 80 classes are known, but the model has 2"):
        checkpoint_meta(cfg, OFFICIAL, "mine.pth")
    cfg.test_dataloader.dataset.metainfo = {"classes": ("cat", "dog")}
    assert checkpoint_meta(cfg, OFFICIAL, "mine.pth")["classes"] == ("cat", "dog")


def test_every_list_names_each_class_once():
    lists = {path.stem: path.read_text().splitlines() for path in CLASS_LISTS.glob("*.txt")}
    assert lists
    assert all(len(set(names)) == len(names) and all(names) for names in lists.values())
    assert lists["sthv1"] == lists["sthv2"]
