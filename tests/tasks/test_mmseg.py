"""Segmentation from drawn scenes to scores and pictures, and what faulty data does to a run."""

import math
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import HOOKS

from uniformer_mm.apis import launch
from uniformer_mm.datasets.synthetic.ade20k import CLASSES
from uniformer_mm.errors import UserError
from uniformer_mm.tasks import task_of

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "seg"
METHODS = ("upernet", "semantic_fpn")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Parent of the drawn set, which tests only read."""
    return tmp_path_factory.mktemp("synthetic")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Formatting the config for the log takes as long as the training."""
    monkeypatch.setattr(Config, "pretty_text", "the config")


def read(method, folder, work_dir):
    """A config on four drawn images, with few blocks and two iterations."""
    cfg = launch.load_config(str(CONFIGS / f"{method}_uniformer_s_h14.py"), str(work_dir))
    task_of(cfg).use_synthetic_data(cfg, 4, folder)
    cfg.model.backbone.arch = {"depths": (1, 1, 4, 1)}
    cfg.train_dataloader.batch_size = 2
    cfg.train_cfg.update(max_iters=2, val_interval=2)
    cfg.default_hooks.checkpoint = None
    cfg.default_hooks.logger.interval = 1
    launch.adapt_to_machine(cfg)
    return cfg


def losses(runner):
    values = runner.message_hub.get_scalar("train/loss")._log_history
    assert len(values) == 2
    return values.tolist()


@pytest.mark.parametrize("method", METHODS)
def test_trains_evaluates_and_paints_truth_beside_prediction(method, folder, tmp_path):
    cfg = read(method, folder, tmp_path / "work")
    task = task_of(cfg)
    task.draw_samples(cfg, tmp_path / "pictures")
    runner = launch.build_runner(cfg, exact_checkpoint=False)
    runner.train()
    assert all(map(math.isfinite, losses(runner)))
    for name in task.scores:
        assert 0 <= runner.message_hub.get_scalar(f"val/{name}").current() <= 100
    assert not (tmp_path / "pictures").exists(), "nothing is painted in validation"
    runner.test()
    (image_file,) = (folder / "4" / "ade20k" / "images" / "validation").iterdir()
    (picture_file,) = (tmp_path / "pictures").iterdir()
    assert picture_file.name == image_file.name
    image, picture = cv2.imread(str(image_file)), cv2.imread(str(picture_file))
    height, width, _ = image.shape
    truth, prediction = picture[:height, :width], picture[:height, -width:]
    difference = truth.astype(int) - prediction
    assert np.abs(difference).mean() > 5, "two iterations teach nothing yet"


@pytest.mark.parametrize("method", METHODS)
def test_augmented_testing_merges_six_scales_with_and_without_flip(method, folder, tmp_path):
    cfg = read(method, folder, tmp_path)
    task_of(cfg).use_test_time_augmentation(cfg)
    runner = launch.build_runner(cfg, exact_checkpoint=False)
    shapes = []
    runner.model.module.backbone.register_forward_pre_hook(
        lambda _, inputs: shapes.append(tuple(inputs[0].shape[-2:]))
    )
    scores = runner.test()
    assert set(scores) == {"mIoU", "mAcc", "aAcc"}
    assert len(shapes) == 12
    assert len(set(shapes)) == 6, "every size is seen twice"
    shorter = [min(shape) for shape in sorted(set(shapes))]
    if method == "upernet":
        assert shorter == [96, 144, 192, 240, 288, 336]
    else:
        assert shorter == [96, 160, 192, 256, 288, 352]
        assert all(side % 32 == 0 for shape in shapes for side in shape)


def test_windows_occur_in_the_miniature(folder, tmp_path):
    """Along the longer side, so that h14 differs from global attention there as well."""
    cfg = read("semantic_fpn", folder, tmp_path)
    runner = launch.build_runner(cfg, exact_checkpoint=False)
    block = runner.model.backbone.blocks3[0]
    tokens = []
    block.register_forward_pre_hook(lambda _, inputs: tokens.append(max(inputs[0].shape[1:3])))
    runner.test()
    assert block.window_size == 14
    assert min(tokens) > 14


def test_classes_and_sizes_follow_the_drawn_set(folder, tmp_path):
    cfg = read("upernet", folder, tmp_path)
    assert cfg.model.decode_head.num_classes == len(CLASSES)
    assert cfg.model.auxiliary_head.num_classes == len(CLASSES)
    assert cfg.train_dataloader.dataset.reduce_zero_label
    crop = next(s for s in cfg.train_dataloader.dataset.pipeline if s.type == "RandomCrop")
    assert tuple(crop.crop_size) == tuple(cfg.model.data_preprocessor.size)


def test_a_config_of_mmseg_itself_paints_into_the_folder(tmp_path):
    cfg = get_config("mmseg::upernet/upernet_r50_4xb4-160k_ade20k-512x512.py")
    assert cfg.default_hooks.visualization.type == "SegVisualizationHook"
    task_of(cfg).draw_predictions(cfg, tmp_path)
    hook = HOOKS.build(cfg.default_hooks.visualization)
    assert (hook.draw, hook.show, hook.out_dir) == (True, False, str(tmp_path))


# ------------------------------------------------------------------------------------ faulty data


@pytest.fixture
def faulty(folder, tmp_path):
    """A config on a copy of the set, and the label maps for training and validation."""
    cfg = read("semantic_fpn", folder, tmp_path / "work")
    copy = shutil.copytree(folder / "4" / "ade20k", tmp_path / "copy")
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        cfg[name].dataset.data_root = str(copy)
    labels = {
        split: sorted((copy / "annotations" / split).iterdir())
        for split in ("training", "validation")
    }
    return cfg, labels


def change(path, function):
    assert cv2.imwrite(str(path), function(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)))


def beyond_the_classes(labels):
    labels[:] = len(CLASSES) + 1
    return labels


def assert_refused(cfg, path, message):
    runner = launch.build_runner(cfg, exact_checkpoint=False)
    with pytest.raises(UserError) as error:
        runner.train()
    assert str(path) in str(error.value)
    assert message in str(error.value)


def test_a_label_beyond_the_classes_stops_the_training(faulty):
    cfg, labels = faulty
    for path in labels["training"]:
        change(path, beyond_the_classes)
    count = len(CLASSES)
    message = f"has the label {count} ({count + 1} in the file), but the model has {count} classes"
    assert_refused(cfg, labels["training"][0].parent, message)


def test_a_label_beyond_the_classes_stops_the_validation(faulty):
    cfg, labels = faulty
    change(labels["validation"][0], beyond_the_classes)
    assert_refused(cfg, labels["validation"][0], f"has the label {len(CLASSES)}")


def test_a_truncated_label_map_stops_the_training(faulty):
    cfg, labels = faulty
    for path in labels["training"]:
        path.write_bytes(path.read_bytes()[:-100])
    assert_refused(cfg, labels["training"][0].parent, "cannot be read: it is truncated")


def test_a_label_map_of_another_size_stops_the_training(faulty):
    cfg, labels = faulty
    for path in labels["training"]:
        change(path, lambda labels: labels[:, ::2])
    assert_refused(cfg, labels["training"][0].parent, "but its image")


def test_images_without_a_labelled_pixel_are_trained_around(faulty):
    cfg, labels = faulty
    for path in labels["training"]:
        change(path, np.zeros_like)
    runner = launch.build_runner(cfg, exact_checkpoint=False)
    runner.train()
    assert losses(runner) == [0.0, 0.0]
    assert all(torch.isfinite(p).all() for p in runner.model.parameters())


def test_a_folder_without_images_is_named(faulty):
    cfg, _ = faulty
    task = task_of(cfg)
    task.check_data(cfg, ("train", "val"))
    cfg.train_dataloader.dataset.img_suffix = ".jpeg"
    task.check_data(cfg, ("val", "test"))
    with pytest.raises(UserError, match=r"no image \*.jpeg in .*images/training: .* img_suffix"):
        task.check_data(cfg, ("train", "val"))
