"""The stand-in for xtcocotools computes the same scores."""

import contextlib
import importlib
import importlib.util
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from uniformer_mm.compat.supplying import STAND_INS

pytestmark = pytest.mark.stack

JOINTS = {
    "keypoints": 17,
    "foot_kpts": 6,
    "face_kpts": 68,
    "lefthand_kpts": 21,
    "righthand_kpts": 21,
}
PARTS = {name.removesuffix("_kpts"): count for name, count in JOINTS.items()}
TYPES = {
    "keypoints": 17,
    "keypoints_crowd": 17,
    "keypoints_wholebody": sum(JOINTS.values()),
    **{f"keypoints_{part}": count for part, count in PARTS.items() if part != "keypoints"},
}


@pytest.fixture(scope="module")
def stand_in() -> Iterator[SimpleNamespace]:
    """The modules of the stand-in, imported under a name that no installed package has."""
    name = "xtcocotools_stand_in"
    folder = STAND_INS / "xtcocotools"
    spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
    assert spec is not None
    sys.modules[name] = ModuleType(name)
    sys.modules[name].__path__ = [str(folder)]
    yield SimpleNamespace(
        coco=importlib.import_module(f"{name}.coco"),
        cocoeval=importlib.import_module(f"{name}.cocoeval"),
        mask=importlib.import_module(f"{name}.mask"),
    )
    for module in [module for module in sys.modules if module.startswith(name)]:
        del sys.modules[module]


@pytest.fixture
def real() -> SimpleNamespace:
    """The installed xtcocotools."""
    spec = importlib.util.find_spec("xtcocotools")
    if spec is None or STAND_INS in Path(str(spec.origin)).parents:
        pytest.skip("xtcocotools is not installed")
    return SimpleNamespace(
        coco=importlib.import_module("xtcocotools.coco"),
        cocoeval=importlib.import_module("xtcocotools.cocoeval"),
    )


def make_set(folder: Path, seed: int) -> tuple[str, str]:
    """Write ground truth and detections of persons: crowds, unlabeled persons, ids from 0."""
    rng = np.random.default_rng(seed)
    images, persons, detections = [], [], []
    for image_id in range(12):
        images.append(
            {"id": image_id, "width": 400, "height": 300, "crowdIndex": float(rng.uniform())}
        )
        for _ in range(rng.integers(0, 4)):
            x, y = rng.uniform(0, 200, 2)
            width, height = rng.uniform(20, 180, 2)
            person: dict[str, Any] = {
                "id": len(persons),
                "image_id": image_id,
                "category_id": 1,
                "bbox": [x, y, width, height],
                "area": width * height * rng.uniform(0.3, 0.8),
                "iscrowd": int(rng.random() < 0.1),
            }
            found: dict[str, Any] = {
                "image_id": image_id,
                "category_id": 1,
                "score": float(rng.integers(0, 6)) / 5,  # equal scores occur
            }
            blank = rng.random() < 0.15
            for key, count in JOINTS.items():
                points = rng.uniform((x, y), (x + width, y + height), (count, 2))
                labels = rng.integers(0, 1 if blank else 3, count)
                person[key] = np.column_stack([points, labels]).ravel().tolist()
                moved = points + rng.normal(0, rng.uniform(0, 12), points.shape)
                sure = rng.uniform(0, 1, count) * (rng.random() > 0.1)
                found[key] = np.column_stack([moved, sure]).ravel().tolist()
                if key != "keypoints" and rng.random() < 0.8:
                    found[f"{key.removesuffix('_kpts')}_score"] = float(rng.uniform())
            found["wholebody_score"] = float(rng.uniform())
            person["num_keypoints"] = int(np.count_nonzero(person["keypoints"][2::3]))
            persons.append(person)
            if rng.random() < 0.85:
                detections.append(found)
    ground_truth = {
        "images": images,
        "annotations": persons,
        "categories": [{"id": 1, "name": "person"}],
    }
    files = folder / f"ground_truth_{seed}.json", folder / f"found_{seed}.json"
    for file, content in zip(files, (ground_truth, detections), strict=True):
        file.write_text(json.dumps(content))
    return str(files[0]), str(files[1])


def scores(
    tools: SimpleNamespace, files: tuple[str, str], kind: str, sigmas: Any, use_area: bool
) -> list[float]:
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = tools.coco.COCO(files[0])
        evaluation = tools.cocoeval.COCOeval(
            ground_truth, ground_truth.loadRes(files[1]), kind, sigmas, use_area
        )
        evaluation.params.useSegm = None  # as mmpose does
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return list(evaluation.stats)


@pytest.mark.filterwarnings("ignore:.*not found, use 'score' instead")
@pytest.mark.parametrize("use_area", [True, False])
@pytest.mark.parametrize("kind", TYPES)
def test_scores_equal_those_of_xtcocotools(
    kind: str, use_area: bool, real: SimpleNamespace, stand_in: SimpleNamespace, tmp_path: Path
) -> None:
    equal = np.full(TYPES[kind], 0.05)
    for seed, sigmas in enumerate((equal, np.random.default_rng(0).uniform(0.02, 0.2, equal.size))):
        files = make_set(tmp_path, seed)
        expected = scores(real, files, kind, sigmas, use_area)
        assert max(expected) > 0
        assert scores(stand_in, files, kind, sigmas, use_area) == pytest.approx(expected, abs=1e-12)


def test_default_sigmas_are_those_of_coco(
    real: SimpleNamespace, stand_in: SimpleNamespace, tmp_path: Path
) -> None:
    files = make_set(tmp_path, 7)
    expected = scores(real, files, "keypoints", None, True)
    assert scores(stand_in, files, "keypoints", None, True) == pytest.approx(expected, abs=1e-12)


def test_perfect_detections_score_one(stand_in: SimpleNamespace, tmp_path: Path) -> None:
    ground_truth, _ = make_set(tmp_path, 3)
    persons = json.loads(Path(ground_truth).read_text())["annotations"]
    labeled = [person for person in persons if person["num_keypoints"] and not person["iscrowd"]]
    Path(ground_truth).with_name("perfect.json").write_text(
        json.dumps([{**person, "score": 1.0} for person in labeled])
    )
    found = str(Path(ground_truth).with_name("perfect.json"))
    assert scores(stand_in, (ground_truth, found), "keypoints", None, True)[0] == pytest.approx(1.0)


def test_no_detection_at_all_scores_zero(stand_in: SimpleNamespace, tmp_path: Path) -> None:
    ground_truth, found = make_set(tmp_path, 3)
    Path(found).write_text("[]")
    assert scores(stand_in, (ground_truth, found), "keypoints", None, True)[0] == 0


def test_annotations_are_read_as_xtcocotools_reads_them(
    real: SimpleNamespace, stand_in: SimpleNamespace, tmp_path: Path
) -> None:
    ground_truth, found = make_set(tmp_path, 5)
    content = json.loads(Path(ground_truth).read_text())
    for annotation in content["annotations"]:
        del annotation["iscrowd"]
    with contextlib.redirect_stdout(io.StringIO()):
        ours, theirs = (
            tools.coco.COCO(ground_truth, [0, 5, 9], json.loads(json.dumps(content)))
            for tools in (stand_in, real)
        )
        detections = json.loads(Path(found).read_text())
        results = [
            coco.loadRes("name", json.loads(json.dumps(detections))) for coco in (ours, theirs)
        ]
    assert ours.anns == theirs.anns
    assert ours.anno_file == theirs.anno_file
    assert results[0].anns == results[1].anns


@pytest.mark.slow
def test_mmpose_imports_the_stand_in_where_xtcocotools_is_absent(run_python: Callable) -> None:
    result = run_python(
        "from importlib.machinery import PathFinder\n"
        "find_spec = PathFinder.find_spec\n"
        "def hidden(name, path=None, target=None):\n"
        "    installed = name.startswith('xtcocotools') and 'stand_ins' not in str(path)\n"
        "    return None if installed else find_spec(name, path, target)\n"
        "PathFinder.find_spec = staticmethod(hidden)\n"
        "import sys\nfrom uniformer_mm.compat import repair_stack; repair_stack()\n"
        "from uniformer_mm import compat; from uniformer_mm.compat import xtcocotools_missing\n"
        "from mmpose.evaluation.metrics import CocoMetric, CocoWholeBodyMetric\n"
        "from mmpose.datasets import CocoDataset, CrowdPoseDataset\n"
        "print(sys.modules['xtcocotools.cocoeval'].__file__)\n"
        "print(sys.modules['xtcocotools.mask'].__file__, compat.is_active(xtcocotools_missing))"
    )
    assert result.returncode == 0, result.stderr
    folder = STAND_INS / "xtcocotools"
    assert result.stdout.split() == [str(folder / "cocoeval.py"), str(folder / "mask.py"), "True"]
