"""Classification end to end: generated images, training, testing, pictures, and no mmpretrain."""

import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from uniformer_mm.apis import launch
from uniformer_mm.apis.cli import explanation, make_parser, prepare_config
from uniformer_mm.datasets.overrides import dataset_configs
from uniformer_mm.datasets.synthetic.imagenet import CLASSES
from uniformer_mm.errors import UserError
from uniformer_mm.tasks import task_of
from uniformer_mm.tasks.mmpretrain import MODEL_SIZE

ROOT = Path(__file__).resolve().parents[2]
PLAIN, TOKENS = (
    str(ROOT / "configs" / "cls" / f"uniformer_{name}_in1k.py") for name in ("s", "l_ls_tl_384")
)
TINY = {"depths": (1, 1, 1, 1), "embed_dims": (8, 16, 32, 512), "head_dim": 16}
COUNT = 24

needs_mmpretrain = pytest.mark.skipif(not find_spec("mmpretrain"), reason="without mmpretrain")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Where generated sets are kept; nothing in them is changed."""
    return tmp_path_factory.mktemp("synthetic")


def prepare(config, work_dir, data):
    """A config for two iterations of a tiny backbone on generated images."""
    cfg = launch.load_config(config, str(work_dir))
    task_of(cfg).use_synthetic_data(cfg, COUNT, data)
    launch.adapt_to_machine(cfg)
    cfg.model.backbone.arch = TINY
    cfg.model.head.in_channels = 512
    cfg.train_cfg.update(max_iters=2, val_interval=2)
    cfg.default_hooks.checkpoint.interval = 2
    return cfg


def train(cfg):
    runner = launch.build_runner(cfg, exact_checkpoint=False)
    runner.train()
    return runner


def evaluate(cfg, checkpoint):
    cfg.load_from = str(checkpoint)
    runner = launch.build_runner(cfg, exact_checkpoint=True)
    return runner, runner.test()


@needs_mmpretrain
@pytest.mark.parametrize("config", [PLAIN, TOKENS])
def test_generated_data_come_with_sizes_classes_and_mild_augmentation(config, tmp_path, data):
    cfg = prepare(config, tmp_path, data)
    used = str([cfg.model, cfg.data_preprocessor, cfg.custom_hooks, cfg.train_dataloader])
    for strong in ("RandAugment", "RandomErasing", "Mixup", "CutMix", "MixToken", "EMAHook"):
        assert strong not in used
    assert cfg.model.head.num_classes == cfg.data_preprocessor.num_classes == len(CLASSES) == 12
    assert cfg.load_from is None
    from mmpretrain.registry import DATASETS

    for split, dataset in dataset_configs(cfg):
        samples = DATASETS.build(dataset)
        assert len(samples) == (COUNT if split == "train" else COUNT // 4)
        assert samples[0]["inputs"].shape == (3, MODEL_SIZE, MODEL_SIZE)
        assert samples.CLASSES == CLASSES


@needs_mmpretrain
@pytest.mark.parametrize("config", [PLAIN, TOKENS])
def test_training_testing_augmentation_and_pictures(config, tmp_path, data):
    cfg = prepare(config, tmp_path / "work", data)
    task_of(cfg).draw_samples(cfg, tmp_path / "pictures")
    runner = train(cfg)
    scalars = runner.message_hub.log_scalars
    assert {f"val/{name}" for name in task_of(cfg).scores} <= set(scalars)
    runner.test()
    assert len(list((tmp_path / "pictures").rglob("*.jpg"))) == COUNT // 4

    cfg = prepare(config, tmp_path / "again", data)
    task_of(cfg).draw_predictions(cfg, tmp_path / "shown")
    task_of(cfg).use_test_time_augmentation(cfg)
    _, scores = evaluate(cfg, tmp_path / "work" / "iter_2.pth")
    assert set(scores) == set(task_of(cfg).scores)
    pictures = {path: cv2.imread(str(path)) for path in (tmp_path / "shown").rglob("*.jpg")}
    assert len(pictures) == COUNT // 4
    for path, picture in pictures.items():
        file = path.relative_to(tmp_path / "shown").with_suffix(".JPEG")
        image = cv2.imread(str(data / str(COUNT) / "imagenet" / "val" / file))
        factor = 320 / min(image.shape[:2])
        image = cv2.resize(image, None, fx=factor, fy=factor)
        difference = picture[-len(image) :].astype(float) - image
        assert np.abs(difference).mean() < 4, "the whole image in its colours"


@needs_mmpretrain
def test_the_average_is_kept_and_the_model_itself_is_evaluated(tmp_path, data):
    hooks = launch.load_config(PLAIN).custom_hooks
    hooks[0].momentum = 0.5

    def configure(name):
        cfg = prepare(PLAIN, tmp_path / name, data)
        cfg.custom_hooks = hooks
        return cfg

    runner = train(configure("work"))
    weight = runner.model.head.fc.weight.detach()
    path = tmp_path / "work" / "iter_2.pth"
    checkpoint = torch.load(path, weights_only=True)
    assert torch.equal(checkpoint["ema_state_dict"]["module.head.fc.weight"], weight)
    assert not torch.equal(checkpoint["state_dict"]["head.fc.weight"], weight)
    tester, scores = evaluate(configure("tested"), path)
    assert torch.equal(tester.model.head.fc.weight, weight)
    for name, score in scores.items():
        assert runner.message_hub.get_scalar(f"val/{name}").current() == score


@needs_mmpretrain
def test_missing_data_are_named_with_the_expected_layout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"(?s)data/imagenet/train\n.*train/n01440764/\*\.JPEG"):
        prepare_config(make_parser(None).parse_args([PLAIN]), splits=("train", "val"))


@pytest.fixture
def own_set(tmp_path, data):
    """A config that trains on a copy of the generated set, and the copy."""
    cfg = prepare(PLAIN, tmp_path / "work", data)
    root = tmp_path / "own"
    shutil.copytree(data / str(COUNT) / "imagenet", root)
    for _, dataset in dataset_configs(cfg):
        dataset.data_root = str(root)
    return cfg, root


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("label", ["12", "-1", "heart", ""])
def test_a_label_that_is_no_class_is_named(own_set, split, label):
    cfg, root = own_set
    path = root / "meta" / f"{split}.txt"
    path.write_text(path.read_text().replace(" 3\n", f" {label}\n", 1))
    message = rf"{path}, line 4: label .*{label}', .* are 0 to 11\. Correct it, or set num_classes"
    with pytest.raises(UserError, match=message):
        task_of(cfg).check_data(cfg, ["train", "val"])


def test_another_number_of_class_folders_is_named(own_set):
    cfg, root = own_set
    shutil.rmtree(root / "meta")
    for _, dataset in dataset_configs(cfg):
        dataset.ann_file = ""
    task_of(cfg).check_data(cfg, ["train", "val"])
    (root / "val" / "cat").mkdir()
    for splits in (["train", "val"], ["val"]):
        with pytest.raises(UserError, match=r"val has 'cat', which is not in the other"):
            task_of(cfg).check_data(cfg, splits)
    shutil.rmtree(root / "val" / "cat")
    shutil.rmtree(root / "val" / "n00000003")
    with pytest.raises(UserError, match=r"train has 'n00000003', which is not in the other"):
        task_of(cfg).check_data(cfg, ["val"])
    (root / "train" / "n00000099").mkdir()
    with pytest.raises(
        UserError, match=r"train has 13 class folders, .* 12 classes and the model 12"
    ):
        task_of(cfg).check_data(cfg, ["train"])
    (root / "train" / "n00000099").rmdir()
    cfg.train_dataloader.dataset.metainfo = None
    with pytest.raises(UserError, match=r"12 class folders, .* 1000 classes .* metainfo=dict"):
        task_of(cfg).check_data(cfg, ["train"])


def folder_set(root, names, classes, num_classes=3, kind="CustomDataset"):
    """A config with class folders for training and validation."""
    loaders = {}
    for split in ("train", "val"):
        for name in names:
            (root / split / name).mkdir(parents=True)
        dataset = {"type": kind, "data_root": str(root), "data_prefix": split}
        dataset.update({"classes": classes} if isinstance(classes, str) else {})
        dataset.update({"metainfo": {"classes": classes}} if isinstance(classes, tuple) else {})
        loaders[f"{split}_dataloader"] = {"dataset": dataset}
    model = {"head": {"num_classes": num_classes}}
    return Config({"default_scope": "mmpretrain", "model": model, **loaders})


@pytest.mark.parametrize(
    ("names", "classes", "message"),
    [
        (("cat", "dog"), ("cat", "dog"), None),
        (("cat", "dog"), None, None),
        (("cat", "dog", ".ipynb_checkpoints"), ("cat", "dog"), None),
        (("n02123045", "n02085620"), ("chihuahua", "tabby"), None),
        (("1", "2", "9"), ("one", "two", "nine"), None),
        (("cat", "dog"), ("dog", "cat"), r"in the same order: \('cat', 'dog'\)"),
        (("cat", "dog"), ("cat", "bird"), r"train has 'dog'; the dataset's config names 'bird'"),
        (("cat", "dog"), ("cat",), r"train has 'dog', which"),
        (("cat", "dog"), ("Cat", "Dog"), r"has 'cat', 'dog'; .* names 'Cat', 'Dog', which"),
        (("1", "2", "10"), ("one", "two", "ten"), r"1, 10, 2 .* leading zeros"),
    ],
)
@pytest.mark.parametrize("kind", ["CustomDataset", "ImageNet"])
def test_names_of_classes_are_those_of_the_folders(tmp_path, names, classes, message, kind):
    cfg = folder_set(tmp_path, names, classes, kind=kind)
    if classes is None and kind == "ImageNet":
        message = "2 class folders, but the dataset's config 1000 classes"
    with nullcontext() if message is None else pytest.raises(UserError, match=message):
        task_of(cfg).check_data(cfg, ["train", "val"])
    if isinstance(classes, tuple):
        path = tmp_path / "classes.txt"
        path.write_text("\n".join(classes))
        cfg = folder_set(tmp_path / "named", names, str(path), kind=kind)
        with nullcontext() if message is None else pytest.raises(UserError, match=message):
            task_of(cfg).check_data(cfg, ["train", "val"])


def test_more_best_classes_than_there_are_are_refused(tmp_path):
    cfg = folder_set(tmp_path, ("cat", "dog"), None)
    cfg.val_evaluator = {"type": "Accuracy", "topk": (1, 5)}
    task_of(cfg).check_data(cfg, ["train"])
    with pytest.raises(UserError, match=r"top-5 accuracy of 3 classes: set val_evaluator\.topk"):
        task_of(cfg).check_data(cfg, ["train", "val"])


@needs_mmpretrain
def test_a_file_that_is_no_image_and_an_absent_one_are_named(own_set):
    cfg, root = own_set
    images = sorted((root / "train").rglob("*.JPEG"))
    for image in images:
        image.write_text("no image")
    with pytest.raises(Exception, match="failed to load image") as error:
        train(cfg)
    assert f"{root}/train/n0000" in explanation(error.value)
    assert "is truncated, or not an image" in explanation(error.value)
    for image in images:
        image.unlink()
    with pytest.raises(FileNotFoundError) as error:
        train(cfg)
    assert f"there is no file {root}/train/n0000" in explanation(error.value)


@needs_mmpretrain
def test_an_empty_class_folder_is_warned_of_and_trained_around(own_set, caplog):
    cfg, root = own_set
    for image in (root / "train" / "n00000003").iterdir():
        image.unlink()
    for _, dataset in dataset_configs(cfg):
        dataset.update(ann_file="", split="")
    train(cfg)
    log = next(Path(cfg.work_dir).glob("*/*.log")).read_text()
    assert "Found no valid file in the folder n00000003" in log


def test_without_mmpretrain_everything_else_works_and_the_message_says_what_to_install(tmp_path):
    """In an environment with links to all installed packages but that one."""
    packages, folder = tmp_path / "packages", tmp_path / "folder"
    packages.mkdir()
    folder.mkdir()
    for path in sys.path:
        if path.endswith("site-packages"):
            for entry in Path(path).iterdir():
                link = packages / entry.name
                if not entry.name.startswith("mmpretrain") and not link.exists():
                    link.symlink_to(entry)
    code = f"""
import importlib.util, sys
assert importlib.util.find_spec("mmpretrain") is None
import uniformer_mm
from mmengine.config import Config
from uniformer_mm.tasks import TASKS
assert "mmpretrain" in TASKS
det = Config.fromfile({str(ROOT / "configs" / "det" / "mask_rcnn_uniformer_s.py")!r})
assert det.model.backbone.type == "mmengine.UniFormer"
sys.argv = ["train.py", {PLAIN!r}, "--synthetic"]
import runpy
runpy.run_path({str(ROOT / "tools" / "train.py")!r}, run_name="__main__")
"""
    result = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{packages}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 2, result.stderr[-3000:]
    (line,) = (text for text in result.stderr.splitlines() if text.startswith("error: "))
    assert "pip install 'uniformer-mm[cls" in line
    assert "Traceback" not in result.stderr
