"""Segmentation: augmented testing, what the synthetic recipe keeps, and faulty data."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.hub import get_config
from mmengine.registry import HOOKS
from small_models import HEADS, read_config

from uniformer_mm.apis.config import adapt_to_machine
from uniformer_mm.apis.launch import build_runner
from uniformer_mm.datasets.synthetic.ade20k import CLASSES
from uniformer_mm.errors import UserError
from uniformer_mm.tasks import task_of

pytestmark = [pytest.mark.stack, pytest.mark.slow]

WIDTHS = [32, 32, 64, 64]
METHODS = {"upernet": HEADS["seg"], "semantic_fpn": {"neck": {"in_channels": WIDTHS}}}


def read(method, data, work_dir):
    """A narrow config on four synthetic images, two iterations long."""
    cfg = read_config(f"configs/seg/{method}_uniformer_s_h14.py")
    cfg.work_dir, cfg.launcher = str(work_dir), "none"
    task_of(cfg).use_synthetic_data(cfg, 4, data)
    cfg.merge_from_dict({"model": METHODS[method]})
    cfg.model.backbone.arch = {"depths": (1, 1, 4, 1), "embed_dims": WIDTHS, "head_dim": 32}
    cfg.train_dataloader.batch_size = 2
    cfg.train_cfg.update(max_iters=2, val_interval=2)
    cfg.default_hooks.checkpoint = None
    cfg.default_hooks.logger.interval = 1
    adapt_to_machine(cfg)
    return cfg


@pytest.mark.parametrize("method", METHODS)
def test_augmented_testing_merges_six_scales_with_and_without_flip(
    method, synthetic_sets, tmp_path
):
    cfg = read(method, synthetic_sets, tmp_path)
    task_of(cfg).use_test_time_augmentation(cfg)
    runner = build_runner(cfg, exact_checkpoint=False)
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


def test_the_synthetic_recipe_keeps_windows_and_follows_the_classes(synthetic_sets, tmp_path):
    """The longer side has more than 14 tokens: h14 differs from global attention there."""
    cfg = read("upernet", synthetic_sets, tmp_path)
    assert cfg.model.decode_head.num_classes == len(CLASSES)
    assert cfg.model.auxiliary_head.num_classes == len(CLASSES)
    assert cfg.train_dataloader.dataset.reduce_zero_label
    crop = next(s for s in cfg.train_dataloader.dataset.pipeline if s.type == "RandomCrop")
    assert tuple(crop.crop_size) == tuple(cfg.model.data_preprocessor.size)
    runner = build_runner(cfg, exact_checkpoint=False)
    block = runner.model.backbone.blocks3[0]
    tokens = []
    block.register_forward_pre_hook(lambda _, inputs: tokens.append(max(inputs[0].shape[1:3])))
    runner.test()
    assert block.window_size == 14
    assert min(tokens) > 14


def test_configs_of_mmseg_itself_draw_into_the_folder(tmp_path):
    cfg = get_config("mmseg::upernet/upernet_r50_4xb4-160k_ade20k-512x512.py")
    task_of(cfg).draw_predictions(cfg, tmp_path)
    hook = HOOKS.build(cfg.default_hooks.visualization)
    assert (hook.enable, hook.show, hook.out_dir) == (True, False, str(tmp_path))


# ------------------------------------------------------------------------------------ faulty data


@pytest.fixture
def faulty(synthetic_sets, tmp_path):
    """A config on a copy of the dataset, and the folders of its label maps."""
    cfg = read("semantic_fpn", synthetic_sets, tmp_path / "work")
    copy = shutil.copytree(synthetic_sets / "4" / "ade20k", tmp_path / "copy")
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        cfg[name].dataset.data_root = str(copy)
    return cfg, copy / "annotations"


def change(folder, function):
    for path in folder.iterdir():
        assert cv2.imwrite(str(path), function(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)))


def truncate(folder):
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-100])


def beyond_the_classes(folder):
    change(folder, lambda labels: np.full_like(labels, len(CLASSES) + 1))


@pytest.mark.parametrize(
    ("split", "damage", "message"),
    [
        ("training", beyond_the_classes, f"label {len(CLASSES)} ({len(CLASSES) + 1} in the file)"),
        ("validation", beyond_the_classes, f"label {len(CLASSES)}"),
        ("training", truncate, "truncated"),
        ("training", lambda folder: change(folder, lambda labels: labels[:, ::2]), "its image"),
    ],
    ids=["train_label", "val_label", "truncated", "size"],
)
def test_faulty_label_maps_stop_the_training(faulty, split, damage, message):
    cfg, folder = faulty
    damage(folder / split)
    runner = build_runner(cfg, exact_checkpoint=False)
    with pytest.raises(UserError) as error:
        runner.train()
    assert str(folder / split) in str(error.value)
    assert message in str(error.value)


def test_images_without_a_labelled_pixel_are_trained_around(faulty):
    cfg, folder = faulty
    change(folder / "training", np.zeros_like)
    runner = build_runner(cfg, exact_checkpoint=False)
    runner.train()
    assert runner.message_hub.get_scalar("train/loss")._log_history.tolist() == [0.0, 0.0]
    assert all(torch.isfinite(p).all() for p in runner.model.parameters())


def test_a_folder_without_images_is_named(faulty):
    cfg, folder = faulty
    task = task_of(cfg)
    task.check_data(cfg, ("train", "val"))
    cfg.train_dataloader.dataset.img_suffix = ".jpeg"
    task.check_data(cfg, ("val", "test"))
    images = Path(folder.parent, "images", "training")
    with pytest.raises(UserError, match=rf"\*\.jpeg in .*{images}.* img_suffix"):
        task.check_data(cfg, ("train", "val"))
