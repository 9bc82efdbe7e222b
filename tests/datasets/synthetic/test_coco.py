"""The synthetic COCO set: what is on disk, how readers take it, and how the cache behaves."""

from __future__ import annotations

import colorsys
import json
import subprocess
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO

from uniformer_mm.datasets.synthetic import coco as synthetic_coco
from uniformer_mm.datasets.synthetic.coco import CLASSES, SyntheticCocoSpec, make_synthetic_coco
from uniformer_mm.datasets.synthetic.shapes import PALETTE

SPLITS = ("train2017", "val2017")
TINY = SyntheticCocoSpec(num_train=6, num_val=2, image_size=64)


@pytest.fixture(scope="module")
def default_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The set of the default spec, drawn once; tests only read it."""
    return make_synthetic_coco(tmp_path_factory.mktemp("sets") / "coco", SyntheticCocoSpec())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where a test may draw; nothing else is in the folder that holds it."""
    return tmp_path / "data" / "coco"


def read_json(root: Path, split: str) -> dict[str, Any]:
    return json.loads((root / "annotations" / f"instances_{split}.json").read_text())


def all_annotations(root: Path) -> list[dict[str, Any]]:
    return [annotation for split in SPLITS for annotation in read_json(root, split)["annotations"]]


def snapshot(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def modification_times(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (root, *root.rglob("*"))}


def siblings(root: Path) -> set[str]:
    return {path.name for path in root.parent.iterdir()} - {root.name}


@pytest.fixture(scope="module", params=SPLITS)
def coco(request: pytest.FixtureRequest, default_set: Path) -> COCO:
    return COCO(default_set / "annotations" / f"instances_{request.param}.json")


# ------------------------------------------------------------------------------- layout, content


def test_layout_is_that_of_coco(default_set: Path) -> None:
    counts = dict(zip(SPLITS, (64, 32), strict=True))
    names = {f"annotations/instances_{split}.json" for split in SPLITS} | {"synthetic.json"}
    for split, count in counts.items():
        names |= {f"{split}/{index:012d}.jpg" for index in range(1, count + 1)}
    assert set(snapshot(default_set)) == names


@pytest.mark.parametrize("split", SPLITS)
def test_json_has_the_sections_and_the_fields_of_coco(default_set: Path, split: str) -> None:
    content = read_json(default_set, split)
    assert list(content) == ["info", "licenses", "images", "annotations", "categories"]
    assert [category["id"] for category in content["categories"]] == list(range(1, 7))
    assert tuple(category["name"] for category in content["categories"]) == CLASSES
    assert {category["supercategory"] for category in content["categories"]} == {"shape"}
    for annotation in content["annotations"]:
        assert set(annotation) == {
            "id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation",
        }  # fmt: skip
        assert all(type(value) is float for value in annotation["bbox"])
    ids = [annotation["id"] for annotation in content["annotations"]]
    assert ids == list(range(1, len(ids) + 1))
    assert {a["image_id"] for a in content["annotations"]} < {i["id"] for i in content["images"]}


def test_pycocotools_loads_it_with_valid_category_and_image_ids(coco: COCO) -> None:
    assert len(coco.getImgIds()) in (64, 32)
    for annotation in coco.loadAnns(coco.getAnnIds()):
        assert annotation["category_id"] in coco.getCatIds()
        assert annotation["image_id"] in coco.getImgIds()


@pytest.mark.parametrize("split", SPLITS)
def test_images_have_the_stated_size_longer_side_and_aspect(default_set: Path, split: str) -> None:
    sizes = set()
    for info in read_json(default_set, split)["images"]:
        image = cv2.imread(str(default_set / split / info["file_name"]))
        assert image.shape == (info["height"], info["width"], 3)
        assert max(image.shape) == 256
        assert min(image.shape[:2]) >= 192
        sizes.add(image.shape[:2])
    assert any(height > width for height, width in sizes)
    assert any(height < width for height, width in sizes)


def test_masks_decode_to_exactly_the_stated_area(coco: COCO) -> None:
    for annotation in coco.loadAnns(coco.getAnnIds()):
        assert coco.annToMask(annotation).sum() == annotation["area"]


def test_boxes_are_exactly_the_bounds_of_the_decoded_masks(coco: COCO) -> None:
    for annotation in coco.loadAnns(coco.getAnnIds()):
        bounds = mask_utils.toBbox(coco.annToRLE(annotation))
        assert bounds.tolist() == annotation["bbox"]


def test_polygons_reach_within_a_quarter_pixel_of_the_box(coco: COCO) -> None:
    polygons_seen = 0
    for annotation in coco.loadAnns(coco.getAnnIds()):
        if isinstance(annotation["segmentation"], list):
            points = np.concatenate([np.reshape(p, (-1, 2)) for p in annotation["segmentation"]])
            x, y, width, height = annotation["bbox"]
            np.testing.assert_allclose(points.min(axis=0), (x + 0.25, y + 0.25))
            np.testing.assert_allclose(points.max(axis=0), (x + width - 0.25, y + height - 0.25))
            polygons_seen += 1
    assert polygons_seen > 50


def test_boxes_lie_inside_their_images(coco: COCO) -> None:
    for annotation in coco.loadAnns(coco.getAnnIds()):
        info = coco.imgs[annotation["image_id"]]
        x, y, width, height = annotation["bbox"]
        assert x >= 0
        assert y >= 0
        assert width >= 1
        assert height >= 1
        assert x + width <= info["width"]
        assert y + height <= info["height"]


def test_masks_of_one_image_are_the_visible_parts_and_never_overlap(coco: COCO) -> None:
    for image_id in coco.getImgIds():
        masks = [coco.annToMask(a) for a in coco.loadAnns(coco.getAnnIds(image_id))]
        assert np.sum(masks, axis=0).max(initial=0) <= 1


def test_masks_cover_the_class_colour_in_the_image(default_set: Path) -> None:
    hues: dict[int, list[float]] = {label: [] for label in range(len(CLASSES))}
    coco = COCO(default_set / "annotations" / "instances_val2017.json")
    for annotation in coco.loadAnns(coco.getAnnIds(iscrowd=False)):
        name = coco.imgs[annotation["image_id"]]["file_name"]
        image = cv2.imread(str(default_set / "val2017" / name))[..., ::-1]
        colour = np.median(image[coco.annToMask(annotation) == 1], axis=0)
        hues[annotation["category_id"] - 1].append(colorsys.rgb_to_hsv(*colour)[0])
    for label, values in hues.items():
        differences = (np.array(values) - colorsys.rgb_to_hsv(*PALETTE[label])[0] + 0.5) % 1 - 0.5
        assert np.abs(differences).max() < 20 / 360
        assert np.ptp(differences) > 5 / 360


def test_default_set_has_empty_crowd_and_shared_images(default_set: Path) -> None:
    for split, empty, crowds in (("train2017", 4, 6), ("val2017", 2, 3)):
        content = read_json(default_set, split)
        objects = Counter(a["image_id"] for a in content["annotations"] if not a["iscrowd"])
        assert len(content["images"]) - len(objects) == empty
        assert set(objects.values()) == {1, 2, 3, 4, 5}
        crowd_images = [a["image_id"] for a in content["annotations"] if a["iscrowd"]]
        assert len(crowd_images) == crowds
        assert set(crowd_images) <= set(objects)


def test_crowds_are_run_lengths_and_objects_are_polygons_unless_they_have_a_hole(
    default_set: Path,
) -> None:
    for annotation in all_annotations(default_set):
        if annotation["iscrowd"]:
            assert isinstance(annotation["segmentation"]["counts"], list)
        elif isinstance(annotation["segmentation"], list):
            assert all(len(polygon) >= 6 for polygon in annotation["segmentation"])


def test_default_set_has_small_and_large_objects_of_every_class(default_set: Path) -> None:
    for split in SPLITS:
        objects = [a for a in read_json(default_set, split)["annotations"] if not a["iscrowd"]]
        assert {a["category_id"] for a in objects} == set(range(1, len(CLASSES) + 1))
        longer_sides = [max(a["bbox"][2:]) for a in objects]
        assert min(longer_sides) < 0.15 * 256
        assert max(longer_sides) > 0.4 * 256
        assert min(longer_sides) > 8
        assert max(longer_sides) < 0.75 * 256


def test_default_set_has_overlapping_objects_and_none_hidden_beyond_the_limit(
    default_set: Path,
) -> None:
    overlaps = 0
    for split in SPLITS:
        coco = COCO(default_set / "annotations" / f"instances_{split}.json")
        for image_id in coco.getImgIds():
            boxes = [a["bbox"] for a in coco.loadAnns(coco.getAnnIds(image_id, iscrowd=False))]
            overlaps += sum(
                mask_utils.iou(np.array([a]), np.array([b]), [0]).item() > 0.05
                for a, b in combinations(boxes, 2)
            )
    assert overlaps > 10
    for index in range(20):
        rng = np.random.default_rng((0, 0, index))
        for layer in synthetic_coco.Scene(128, rng, is_empty=False, has_crowd=True).layers:
            visible_share = layer.visible.sum() / layer.full_area
            assert visible_share >= 1 - synthetic_coco.MAX_HIDDEN


def test_training_and_validation_scenes_differ(default_set: Path) -> None:
    images = [content for name, content in snapshot(default_set).items() if name.endswith(".jpg")]
    assert len(set(images)) == 64 + 32


# -------------------------------------------------------------------------------- mask encodings


def test_a_mask_with_a_hole_is_not_given_as_polygons() -> None:
    mask = np.zeros((20, 30), dtype=bool)
    mask[3:15, 5:20] = True
    assert len(synthetic_coco.mask_to_polygons(mask) or []) == 1
    mask[8, 9] = False
    assert synthetic_coco.mask_to_polygons(mask) is None


def test_every_mask_without_a_hole_survives_its_polygons_even_single_pixels() -> None:
    rng = np.random.default_rng(0)
    survived = 0
    for _ in range(200):
        mask = rng.random((9, 11)) < rng.uniform(0.05, 0.5)
        polygons = synthetic_coco.mask_to_polygons(mask) if mask.any() else None
        if polygons:
            rle = mask_utils.merge(mask_utils.frPyObjects(polygons, *mask.shape))
            np.testing.assert_array_equal(mask_utils.decode(rle), mask)
            survived += 1
    assert survived > 50


@pytest.mark.parametrize("fill", [0.0, 0.3, 1.0])
def test_run_lengths_agree_with_pycocotools(fill: float) -> None:
    mask = np.random.default_rng(0).random((13, 7)) < fill
    rle = mask_utils.frPyObjects(synthetic_coco.mask_to_rle(mask), *mask.shape)
    expected = mask_utils.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert rle["counts"] == expected["counts"]


# ------------------------------------------------------------------------------------------ mmdet


def mmdet_dataset(root: Path, split: str, **options: Any) -> Any:
    from mmdet.datasets import CocoDataset
    from mmengine.registry import init_default_scope

    init_default_scope("mmdet")
    return CocoDataset(
        data_root=str(root),
        ann_file=f"annotations/instances_{split}.json",
        data_prefix={"img": f"{split}/"},
        metainfo={"classes": CLASSES, "palette": PALETTE},
        pipeline=[
            {"type": "LoadImageFromFile"},
            {"type": "LoadAnnotations", "with_bbox": True, "with_mask": True},
        ],
        **options,
    )


def test_mmdet_reads_boxes_masks_and_ignores_crowds(default_set: Path) -> None:
    dataset = mmdet_dataset(default_set, "val2017", test_mode=True)
    reference = COCO(default_set / "annotations" / "instances_val2017.json")
    assert len(dataset) == 32
    ignored = 0
    for index in range(len(dataset)):
        sample = dataset[index]
        annotations = reference.loadAnns(reference.getAnnIds(sample["img_id"]))
        assert len(sample["gt_bboxes"]) == len(annotations)
        assert sample["gt_bboxes_labels"].tolist() == [a["category_id"] - 1 for a in annotations]
        assert sample["gt_ignore_flags"].tolist() == [bool(a["iscrowd"]) for a in annotations]
        assert sample["gt_masks"].masks.shape[1:] == sample["img"].shape[:2]
        assert sample["gt_masks"].areas.tolist() == [a["area"] for a in annotations]
        ignored += sample["gt_ignore_flags"].sum()
    assert ignored == 3


def test_mmdet_drops_empty_images_on_request(default_set: Path) -> None:
    dataset = mmdet_dataset(default_set, "train2017", filter_cfg={"filter_empty_gt": True})
    assert len(dataset) == 64 - 4


# ---------------------------------------------------------------------------------- seed and cache


def test_equal_specs_give_equal_bytes(root: Path) -> None:
    first = make_synthetic_coco(root / "a", TINY)
    second = make_synthetic_coco(root / "b", TINY)
    assert snapshot(first) == snapshot(second)


def test_another_seed_gives_other_images_and_annotations(root: Path) -> None:
    first = snapshot(make_synthetic_coco(root / "a", TINY))
    second = snapshot(make_synthetic_coco(root / "b", SyntheticCocoSpec(6, 2, 64, seed=1)))
    assert first.keys() == second.keys()
    assert all(first[name] != second[name] for name in first)


def test_an_image_does_not_depend_on_how_many_there_are(root: Path) -> None:
    few = make_synthetic_coco(root / "few", TINY)
    many = make_synthetic_coco(root / "many", SyntheticCocoSpec(9, 3, 64))
    files = snapshot(few)
    images = {name: content for name, content in files.items() if name.endswith(".jpg")}
    assert images.items() <= snapshot(many).items()
    for split in SPLITS:
        annotations = read_json(few, split)["annotations"]
        assert annotations == read_json(many, split)["annotations"][: len(annotations)]


def test_the_same_spec_is_reused_without_touching_a_file(root: Path) -> None:
    assert make_synthetic_coco(root, TINY) == root
    before = modification_times(root)
    assert make_synthetic_coco(root, TINY) == root
    assert modification_times(root) == before
    assert not siblings(root)


@pytest.mark.parametrize(
    "spec",
    [
        SyntheticCocoSpec(4, 2, 64),
        SyntheticCocoSpec(6, 3, 64),
        SyntheticCocoSpec(6, 2, 80),
        SyntheticCocoSpec(6, 2, 64, seed=1),
    ],
)
def test_another_spec_replaces_the_set(root: Path, spec: SyntheticCocoSpec) -> None:
    make_synthetic_coco(root, TINY)
    make_synthetic_coco(root, spec)
    assert snapshot(root) == snapshot(make_synthetic_coco(root.parent / "fresh", spec))
    assert siblings(root) == {"fresh"}


def test_another_generator_version_replaces_the_set(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic_coco, "GENERATOR_VERSION", 0)
    make_synthetic_coco(root, TINY)
    monkeypatch.undo()
    make_synthetic_coco(root, TINY)
    marker = json.loads((root / "synthetic.json").read_text())
    assert marker["version"] == synthetic_coco.GENERATOR_VERSION


@pytest.mark.parametrize("lost", ["train2017/000000000003.jpg", "annotations", "val2017"])
def test_a_set_with_a_file_or_a_folder_missing_is_drawn_again(root: Path, lost: str) -> None:
    whole = snapshot(make_synthetic_coco(root, TINY))
    for path in sorted((root / lost, *(root / lost).rglob("*")), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert snapshot(root) != whole
    make_synthetic_coco(root, TINY)
    assert snapshot(root) == whole


def test_an_empty_folder_and_a_link_to_one_are_filled(root: Path) -> None:
    root.mkdir(parents=True)
    make_synthetic_coco(root, TINY)
    (root.parent / "elsewhere").mkdir()
    link = root.parent / "link"
    link.symlink_to("elsewhere")
    assert make_synthetic_coco(link, TINY) == link
    assert link.is_symlink()
    assert snapshot(link) == snapshot(root)


# ------------------------------------------------------------------------- what is never deleted


def test_a_foreign_folder_is_refused_and_left_as_it_is(root: Path) -> None:
    (root / "train2017").mkdir(parents=True)
    (root / "train2017" / "000000000001.jpg").write_bytes(b"a real photograph")
    before = snapshot(root), modification_times(root)
    with pytest.raises(FileExistsError, match=r"was not made by .*: choose another folder"):
        make_synthetic_coco(root, TINY)
    assert (snapshot(root), modification_times(root)) == before
    assert not siblings(root)


MARKER_OF_ANOTHER_KIND = (
    '{"generator": "uniformer_mm.datasets.synthetic.coco", "version": 1, "spec": {"frames": 8}}'
)


@pytest.mark.parametrize(
    "marker", [None, "", "[]", '{"generator": "other"}', MARKER_OF_ANOTHER_KIND]
)
def test_a_set_without_its_valid_marker_counts_as_foreign(root: Path, marker: str | None) -> None:
    make_synthetic_coco(root, TINY)
    (root / "synthetic.json").unlink()
    if marker is not None:
        (root / "synthetic.json").write_text(marker)
    before = snapshot(root)
    with pytest.raises(FileExistsError, match=r"no valid synthetic\.json"):
        make_synthetic_coco(root, TINY)
    assert snapshot(root) == before


@pytest.mark.parametrize(
    "name",
    ["notes.txt", "train2017/mine.jpg", "val2017/000000000139.jpg", "work_dirs/epoch_1.pth"],
)
def test_a_file_that_someone_added_is_not_deleted_with_an_outdated_set(
    root: Path, name: str
) -> None:
    make_synthetic_coco(root, TINY)
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text("keep me")
    make_synthetic_coco(root, TINY)
    with pytest.raises(
        FileExistsError, match=f"but also {name.removesuffix('/epoch_1.pth')}, which"
    ):
        make_synthetic_coco(root, SyntheticCocoSpec(6, 2, 64, seed=1))
    assert (root / name).read_text() == "keep me"
    assert make_synthetic_coco(root, TINY) == root


def test_a_file_in_place_of_the_folder_is_refused(root: Path) -> None:
    root.parent.mkdir()
    root.write_text("a file")
    with pytest.raises(FileExistsError, match="is a file, not the folder of"):
        make_synthetic_coco(root, TINY)
    assert root.read_text() == "a file"


# ------------------------------------------------------------- interruption, several processes


def interrupt_in_val(monkeypatch: pytest.MonkeyPatch) -> None:
    write_split = synthetic_coco._write_split

    def write_train_only(root: Path, split: str, *arguments: Any) -> None:
        if split == "val2017":
            raise KeyboardInterrupt
        write_split(root, split, *arguments)

    monkeypatch.setattr(synthetic_coco, "_write_split", write_train_only)


def test_an_interruption_leaves_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_in_val(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        make_synthetic_coco(root, TINY)
    assert list(root.parent.iterdir()) == []


def test_an_interruption_leaves_the_former_set(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = snapshot(make_synthetic_coco(root, TINY))
    interrupt_in_val(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        make_synthetic_coco(root, SyntheticCocoSpec(6, 2, 64, seed=1))
    assert snapshot(root) == before
    assert not siblings(root)


@pytest.mark.parametrize("outdated", [False, True])
def test_a_process_that_comes_second_takes_the_set_of_the_first(
    root: Path, monkeypatch: pytest.MonkeyPatch, outdated: bool
) -> None:
    if outdated:
        make_synthetic_coco(root, SyntheticCocoSpec(6, 2, 64, seed=1))
    write_split = synthetic_coco._write_split
    first_result: dict[Path, int] = {}

    def overtaken(folder: Path, split: str, *arguments: Any) -> None:
        monkeypatch.undo()
        make_synthetic_coco(root, TINY)
        first_result.update(modification_times(root))
        write_split(folder, split, *arguments)

    monkeypatch.setattr(synthetic_coco, "_write_split", overtaken)
    make_synthetic_coco(root, TINY)
    assert first_result
    assert modification_times(root) == first_result
    assert not siblings(root)


# Without the package's __init__, whose imports would take far longer than drawing.
WORKER = """
import sys, types
from pathlib import Path
folder = Path(sys.argv[1]).parent
for name, path in (("uniformer_mm", folder.parent), ("uniformer_mm.datasets", folder)):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [str(path)]
from uniformer_mm.datasets import synthetic_coco as generator
print("ready", flush=True)
sys.stdin.readline()
spec = generator.SyntheticCocoSpec(num_train=6, num_val=2, image_size=64)
generator.make_synthetic_coco(Path(sys.argv[2]), spec)
sys.exit(not generator._generated_set().is_complete(Path(sys.argv[2]), spec))
"""


@pytest.mark.parametrize("outdated", [False, True])
def test_processes_that_start_together_end_with_one_valid_set(root: Path, outdated: bool) -> None:
    if outdated:
        make_synthetic_coco(root, SyntheticCocoSpec(6, 2, 64, seed=1))
    command = [sys.executable, "-c", WORKER, synthetic_coco.__file__, str(root)]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    for worker in workers:
        worker.communicate(timeout=600)
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    assert snapshot(root) == snapshot(make_synthetic_coco(root.parent / "alone", TINY))
    assert siblings(root) == {"alone"}


# --------------------------------------------------------------------------------- specification


@pytest.mark.parametrize(
    ("field", "value", "minimum"),
    [
        ("num_train", 0, 1),
        ("num_val", -3, 1),
        ("image_size", 63, 64),
        ("seed", -1, 0),
        ("num_train", 2.5, 1),
        ("num_val", "8", 1),
        ("seed", None, 0),
        ("seed", True, 0),
    ],
)
def test_a_bad_spec_names_the_field_the_limit_and_the_value(
    field: str, value: object, minimum: int
) -> None:
    with pytest.raises(
        ValueError, match=f"^{field} must be an integer >= {minimum}, got {value!r}$"
    ):
        SyntheticCocoSpec(**{field: value})  # type: ignore[arg-type]
