"""Converted checkpoints have the names of their classes in the right order."""

import copy
import functools
import hashlib
from pathlib import Path

import pytest

from uniformer_mm.apis.config import load_config
from uniformer_mm.apis.dataset_meta import CLASS_LISTS, checkpoint_meta, written_meta
from uniformer_mm.checkpoints import CheckpointError, facts
from uniformer_mm.checkpoints.facts import PublishedFile

ROOT = Path(__file__).resolve().parents[2]
OFFICIAL = {"state_dict": {}}

# config: (number of classes, some of them by number, whether they have colors)
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


pytestmark = pytest.mark.stack
read_config = functools.cache(load_config)


def config(name):
    return copy.deepcopy(read_config(str(ROOT / "configs" / f"{name}.py")))


@pytest.mark.parametrize("name", CASES)
def test_official_files_get_the_classes_of_the_benchmark(name):
    count, some, has_colors = CASES[name]
    meta = checkpoint_meta(config(name), OFFICIAL, Path("official.pth"))
    assert len(meta["classes"]) == count
    assert {number: meta["classes"][number] for number in some} == some
    assert len(meta.get("palette", ())) == (count if has_colors else 0)


def test_pose_estimators_get_their_keypoints():
    meta = checkpoint_meta(config("pose/td_hm_uniformer_s_256x192"), OFFICIAL, Path("official.pth"))
    assert meta["num_keypoints"] == 17
    assert meta["keypoint_id2name"][0] == "nose"


def test_the_order_of_kinetics_classes_depends_on_the_published_file(tmp_path, monkeypatch, capsys):
    """The hash tells whether a file is theirs or the authors'; else a warning says the order."""
    cfg = config("video/uniformer_s_16x4_k400")
    paths = {name: tmp_path / name for name in ("theirs", "ours", "kinetics400-rgb_-c630a037.pth")}
    for name, path in paths.items():
        path.write_text(name)
    published = {"theirs": PublishedFile(alphabetical=True), "ours": PublishedFile()}
    hashes = {hashlib.sha256(name.encode()).hexdigest(): published[name] for name in published}
    monkeypatch.setattr(facts, "known_files", lambda: hashes)
    theirs, ours = (checkpoint_meta(cfg, OFFICIAL, paths[name])["classes"] for name in published)
    assert theirs[:2] == ("abseiling", "air drumming")
    assert theirs == tuple(sorted(ours))
    assert theirs != ours
    assert "WARNING" not in capsys.readouterr().out
    *_, unknown = paths.values()
    assert checkpoint_meta(cfg, OFFICIAL, unknown)["classes"] == ours, "under any name"
    warning = capsys.readouterr().out
    assert str(unknown) in warning
    assert "kinetics400.txt" in warning


@pytest.mark.parametrize(
    ("meta", "fact"),
    [
        ({"dataset_meta": {"classes": 7}}, r"meta.dataset_meta.classes .*, got 7"),
        ({"dataset_meta": {"classes": "person"}}, r"meta.dataset_meta.classes .*, got 'person'"),
        ({"dataset_meta": {"classes": ["cat", 7]}}, r"got \['cat', 7\]"),
        ({"dataset_meta": {"classes": {"cat": 0}}}, r"got \{'cat': 0\}"),
        ({"dataset_meta": ["cat"]}, r"meta.dataset_meta .*, got \['cat'\]"),
        ({"CLASSES": 80}, r"meta.classes .*, got 80"),
        ({"dataset_meta": {"classes": ["\x1b[31m", 7]}}, r"got \['\\x1b\[31m', 7\]"),
    ],
)
def test_classes_of_the_wrong_type_are_named(meta, fact):
    with pytest.raises(CheckpointError, match=rf"^odd\.pth: .*{fact}$") as caught:
        written_meta({"meta": meta}, Path("odd.pth"))
    assert str(caught.value).isprintable()


def test_names_of_classes_cannot_steer_a_terminal():
    cfg = config("det/mask_rcnn_uniformer_s")
    names = ["\x1b[31mred", "a\nb", *map(str, range(78))]
    meta = checkpoint_meta(cfg, {"meta": {"dataset_meta": {"classes": names}}}, Path("odd.pth"))
    assert meta["classes"][:2] == ["?[31mred", "a?b"]


def test_the_meta_of_a_checkpoint_comes_first():
    cfg = config("det/mask_rcnn_uniformer_s")
    for head in (cfg.model.roi_head.bbox_head, cfg.model.roi_head.mask_head):
        head.num_classes = 2
    own = {"classes": ("cat", "dog"), "palette": [(1, 2, 3), (4, 5, 6)]}
    assert checkpoint_meta(cfg, {"meta": {"dataset_meta": own}}, Path("epoch_1.pth")) == own
    capitals = {"CLASSES": ("cat", "dog")}  # of MM 1.x
    assert checkpoint_meta(cfg, {"meta": capitals}, Path("epoch_1.pth")) == {
        "classes": ("cat", "dog")
    }


def test_colors_of_the_dataset_go_with_its_classes():
    cfg = config("det/mask_rcnn_uniformer_s")
    classes = checkpoint_meta(cfg, OFFICIAL, Path("official.pth"))["classes"]
    meta = checkpoint_meta(cfg, {"meta": {"CLASSES": classes}}, Path("official.pth"))
    assert len(meta["palette"]) == 80


def test_classes_that_a_training_did_not_know_stay_unknown():
    """The user's list of videos may number them differently than the authors'."""
    cfg = config("video/uniformer_s_16x8_k400")
    assert "classes" not in checkpoint_meta(
        cfg, {"meta": {"dataset_meta": {}}}, Path("epoch_1.pth")
    )


def test_names_of_other_classes_than_the_model_has_are_refused():
    cfg = config("det/mask_rcnn_uniformer_s")
    for head in (cfg.model.roi_head.bbox_head, cfg.model.roi_head.mask_head):
        head.num_classes = 2
    with pytest.raises(CheckpointError, match=r"mine\.pth: .* 80 .* 2: "):
        checkpoint_meta(cfg, OFFICIAL, Path("mine.pth"))
    cfg.test_dataloader.dataset.metainfo = {"classes": ("cat", "dog")}
    assert checkpoint_meta(cfg, OFFICIAL, Path("mine.pth"))["classes"] == ("cat", "dog")


def test_every_list_names_each_class_once():
    lists = {path.stem: path.read_text().splitlines() for path in CLASS_LISTS.glob("*.txt")}
    assert lists
    assert all(len(set(names)) == len(names) and all(names) for names in lists.values())
    assert lists["sthv1"] == lists["sthv2"]
