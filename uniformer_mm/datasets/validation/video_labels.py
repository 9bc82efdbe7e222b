"""Compare the labels in lists of videos with the classes of the model."""

from collections.abc import Sequence

from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from uniformer_mm.datasets.overrides import dataset_configs
from uniformer_mm.errors import UserError


def check_video_labels(cfg: Config, splits: Sequence[str]) -> None:
    """Check the labels in lists of videos, frame folders or audio.

    mmaction crashes on labels that are not classes, or counts them as wrong predictions.

    Args:
        cfg: Config of mmaction.
        splits: The splits that will be read, of 'train', 'val' and 'test'.

    Raises:
        UserError: A line has a label out of range, or none where it is needed.
    """
    from mmaction.datasets import AudioDataset, RawframeDataset, VideoDataset

    outputs = (cfg.model.get("cls_head") or {}).get("num_classes")
    for split, config in dataset_configs(cfg):
        if outputs is None or split not in splits:
            continue
        with DefaultScope.overwrite_default_scope("mmaction"):
            dataset = DATASETS.build({**config, "lazy_init": True})
        if not isinstance(dataset, AudioDataset | RawframeDataset | VideoDataset):
            continue
        count = min(outputs, dataset.num_classes or outputs)
        needs_labels = split == "train" or bool(cfg.get(f"{split}_evaluator"))
        for number, sample in enumerate(dataset.load_data_list(), start=1):
            labels = sample["label"] if isinstance(sample["label"], list) else [sample["label"]]
            for label in labels:
                if label >= count or (label < 0 and needs_labels):
                    raise UserError(
                        f"{dataset.ann_file}, line {number}:"
                        f" {f'label {label}' if label != -1 else 'no label'}, but the {count}"
                        f" classes are 0 to {count - 1}. Correct it, or set num_classes of the"
                        " head, the blending and the datasets"
                    )
