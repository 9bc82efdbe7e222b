"""Samples of a dataset as a model gets them: augmented, padded and mixed in batches."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner, set_random_seed

from uniformer_mm.analysis.overlays import input_frames
from uniformer_mm.apis.diagnosis import building
from uniformer_mm.apis.models import load_model
from uniformer_mm.datasets.media import Image
from uniformer_mm.datasets.validation.image_sizes import check_image_sizes
from uniformer_mm.tasks import task_of


def browse(cfg: Config, split: str, count: int, seed: int = 0) -> Iterator[tuple[str, Image]]:
    """Visualize random samples with their ground truth.

    They have gone through the dataset's pipeline and the model's data preprocessor: augmentation,
    padding, and for training Mixup, CutMix and the like. Normalization is undone.

    Args:
        cfg: The config; changed in place.
        split: 'train', 'val' or 'test'.
        count: Number of samples; all if there are fewer.
        seed: Seed of the choice and the augmentation.

    Yields:
        A name that begins with a number, and the image (H, W, 3), BGR.

    Raises:
        UserError: The config or the data are invalid.
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
                if x.dim() == 5:  # a clip, (views, 3, T, H, W)
                    x = x[0]
                elif x.dim() == 4:  # frames, (T, 3, H, W)
                    x = x.movedim(0, 1)
                frames = input_frames(x, preprocessor, channels)
                drawn = task.draw_ground_truth(frames, sample, loader.dataset.metainfo)
                name = Path(sample.get("img_path") or sample.get("filename") or "sample").stem
                yield f"{number:03d}_{name}", drawn
                number += 1
