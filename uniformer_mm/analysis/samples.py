"""Samples as a model gets them: behind the pipeline, padded and mixed as batches are."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner, set_random_seed
from torch import Tensor

from uniformer_mm.analysis.panels import seen_frames
from uniformer_mm.apis.diagnosis import building
from uniformer_mm.apis.models import load_model
from uniformer_mm.datasets.media import Image
from uniformer_mm.datasets.validation.image_sizes import check_image_sizes
from uniformer_mm.tasks import task_of


def browse(cfg: Config, split: str, count: int, seed: int = 0) -> Iterator[tuple[str, Image]]:
    """Pictures of samples with their truth, drawn at random and in batches as for the model.

    They have gone through the dataset's pipeline and the model's data preprocessor: augmentation,
    padding, and for training Mixup, CutMix and the like. Normalisation is undone.

    Args:
        cfg: Changed in place.
        split: Of 'train', 'val' and 'test' the one to look at.
        count: How many; all if there are fewer.
        seed: Of the choice and the augmentation.

    Yields:
        A name, with a number in front, and the picture (H, W, 3), BGR.

    Raises:
        UserError: Something in the config is wrong.
    """
    task = task_of(cfg)
    task.keep_ground_truth(cfg)
    loader_cfg = copy.deepcopy(cfg[f"{split}_dataloader"])
    loader_cfg.update(
        num_workers=0, persistent_workers=False, sampler={"type": "DefaultSampler", "shuffle": True}
    )
    loader_cfg.pop("prefetch_factor", None)
    if "batch_size" in loader_cfg:
        loader_cfg.batch_size = min(loader_cfg.batch_size, count)
    with building(), DefaultScope.overwrite_default_scope(task.scope):
        preprocessor: Any = load_model(cfg, None).data_preprocessor
        channels = task.channel_order(preprocessor)
        set_random_seed(seed)
        loader = Runner.build_dataloader(loader_cfg, seed=seed)
        check_image_sizes(loader.dataset)
    number = 0
    with DefaultScope.overwrite_default_scope(task.scope):
        for batch in loader:
            data = preprocessor(batch, training=split == "train")
            for x, sample in zip(data["inputs"], data["data_samples"], strict=True):
                if number == count:
                    return
                frames = seen_frames(_first_view(x), preprocessor, channels)
                picture = task.draw_ground_truth(frames, sample, loader.dataset.metainfo)
                name = Path(sample.get("img_path") or sample.get("filename") or "sample").stem
                yield f"{number:03d}_{name}", picture
                number += 1


def _first_view(x: Tensor) -> Tensor:
    """(3, H, W) or (3, T, H, W) of an image, a clip (views, 3, T, H, W) or frames (T, 3, H, W)."""
    if x.dim() == 5:
        return x[0]
    return x.movedim(0, 1) if x.dim() == 4 else x
