"""Training of a small detector on `own_set`."""

import json

from running import run_inside

ONE_EPOCH = [
    *("train_cfg.max_epochs=1", "default_hooks.logger.interval=1", "val_dataloader.num_workers=0"),
    *("train_dataloader.num_workers=0", "train_dataloader.persistent_workers=False"),
    *("val_dataloader.persistent_workers=False", "val_dataloader.dataset.indices=1"),
    *("model.test_cfg.rcnn.max_per_img=5", "train_dataloader.dataset.pipeline.2.scale=(128,128)"),
    "val_dataloader.dataset.pipeline.1.scale=(128,128)",
]


def train(folder, content, *options):
    """Exit status of one epoch on the annotations in `content`."""
    (folder / "annotations.json").write_text(json.dumps(content))
    return run_inside(
        *("train.py", folder / "detector.py", "--work-dir", folder / "work"),
        *("--coco", folder / "images", folder / "annotations.json"),
        *("--cfg-options", *ONE_EPOCH, *options),
    )
