"""Run a config end to end on generated data: the datasets swapped, sizes and schedule shrunken."""

from pathlib import Path
from typing import Any

from mmengine.config import Config

from uniformer_mm.datasets.redirect import dataset_configs, use_coco_data
from uniformer_mm.datasets.synthetic_coco import PALETTE, SyntheticCocoSpec, make_synthetic_coco
from uniformer_mm.errors import UserError

DEFAULT_FOLDER = Path("data", "synthetic")
DEFAULT_COUNT = 256
IMAGE_SIZE = 384
"""Longer side of the drawn images, in pixels."""

MODEL_SIZE = 192
"""Longer side of what a model sees of them, in pixels: half as many, for two CPU cores."""


def use_synthetic_data(cfg: Config, count: int | None = None, folder: Path | None = None) -> Path:
    """Swap the data of a config for a generated miniature in the same format on disk.

    Image sizes, sampling and the schedule are shrunken to match, so that a model learns the set
    from random weights within minutes on two CPU cores.

    Args:
        cfg: Changed in place.
        count: Number of training images; a quarter as many are drawn for validation.
        folder: Where the set is kept, `DEFAULT_FOLDER` by default.

    Returns:
        Folder of the set.

    Raises:
        UserError: There is no synthetic counterpart for the config's datasets.
    """
    scope = cfg.get("default_scope")
    kinds = sorted({dataset["type"] for _, dataset in dataset_configs(cfg)})
    if scope == "mmdet" and kinds == ["CocoDataset"]:
        return _use_synthetic_coco(
            cfg, DEFAULT_COUNT if count is None else count, folder or DEFAULT_FOLDER
        )
    raise UserError(
        f"--synthetic has no counterpart for datasets {kinds} of {scope};"
        " it has one for CocoDataset of mmdet"
    )


def make_spec(count: int = DEFAULT_COUNT) -> SyntheticCocoSpec:
    """What is drawn for `count` training images.

    Raises:
        UserError: `count` is below 1.
    """
    try:
        return SyntheticCocoSpec(num_train=count, num_val=max(count // 4, 1), image_size=IMAGE_SIZE)
    except ValueError as error:
        raise UserError(f"--synthetic: {error}") from error


def _use_synthetic_coco(cfg: Config, count: int, folder: Path) -> Path:
    spec = make_spec(count)
    try:
        root = make_synthetic_coco(folder / "coco", spec)
    except FileExistsError as error:
        raise UserError(str(error)) from error
    use_coco_data(
        cfg,
        images={"train": f"{root}/train2017", "val": f"{root}/val2017"},
        annotations={
            split: f"{root}/annotations/instances_{split}2017.json" for split in ("train", "val")
        },
        palette=PALETTE,
    )
    for _, dataset in dataset_configs(cfg):
        _scale_sizes(dataset["pipeline"], MODEL_SIZE / 1066)
    _shrink_detector(cfg.model)
    _shrink_schedule(cfg)
    return root


def _shrink_detector(model: Any) -> None:
    """Random weights, fewer proposals and samples: a few objects, on small images."""
    model.backbone.update(init_cfg=None, drop_path_rate=0.0, with_cp=False)
    model.train_cfg.rpn_proposal.update(nms_pre=500, max_per_img=250)
    model.test_cfg.rpn.update(nms_pre=500, max_per_img=250)
    stages = model.train_cfg.rcnn
    for stage in stages if isinstance(stages, list) else [stages]:
        stage.sampler.num = 32


def _shrink_schedule(cfg: Config, iterations: int = 260) -> None:
    """A short run at a higher learning rate, decayed along a cosine, evaluated at its end."""
    cfg.train_cfg = {
        "type": "IterBasedTrainLoop",
        "max_iters": iterations,
        "val_interval": iterations,
    }
    # Few iterations: a shorter memory of squared gradients, and clipping, make more of each.
    cfg.optim_wrapper.optimizer.update(lr=3e-4, betas=(0.9, 0.98), fused=True)
    cfg.optim_wrapper.clip_grad = {"max_norm": 5.0}
    cfg.param_scheduler = [
        {"type": "LinearLR", "start_factor": 0.01, "by_epoch": False, "begin": 0, "end": 30},
        {
            "type": "CosineAnnealingLR",
            "by_epoch": False,
            "begin": 30,
            "end": iterations,
            "T_max": iterations - 30,
            "eta_min_ratio": 0.01,
        },
    ]
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=iterations)
    cfg.default_hooks.logger.interval = 10
    cfg.log_processor.update(by_epoch=False, window_size=10)
    cfg.train_dataloader.sampler = {"type": "InfiniteSampler", "shuffle": True}
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        cfg[name].update(num_workers=0, persistent_workers=False)
    cfg.randomness = {"seed": 0}


def _scale_sizes(pipeline: Any, factor: float) -> None:
    """Scale every image size in a pipeline, to multiples of one pixel."""
    if isinstance(pipeline, dict):
        for key, value in pipeline.items():
            if key in ("scale", "scales", "crop_size", "size"):
                pipeline[key] = _scaled(value, factor)
            else:
                _scale_sizes(value, factor)
    elif isinstance(pipeline, list | tuple):
        for value in pipeline:
            _scale_sizes(value, factor)


def _scaled(value: Any, factor: float) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_scaled(entry, factor) for entry in value)
    return max(round(value * factor), 1)
