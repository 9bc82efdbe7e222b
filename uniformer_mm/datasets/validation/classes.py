"""Compare the classes or keypoints of a model with those of its datasets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS

from uniformer_mm.datasets.overrides import dataset_configs
from uniformer_mm.datasets.validation.num_classes import Setting, class_settings, type_name
from uniformer_mm.errors import UserError, printable


@dataclass(frozen=True)
class Classes:
    """Numbers of classes or keypoints of a dataset; None where its config does not say.

    Attributes:
        things: Number of classes, of panoptic data those that have instances.
        stuff: Number of stuff classes of panoptic data.
        keypoints: Number of keypoints.
        names: Names of the classes.
    """

    things: int | None = None
    stuff: int = 0
    keypoints: int | None = None
    names: Sequence[str] = ()

    def agree_with(self, setting: Setting) -> bool:
        """Whether a setting of a model may have its value."""
        if setting.kind == "keypoints":
            return self.keypoints in (None, setting.count)
        if self.things is None:
            return True
        if setting.kind == "weights":
            return setting.count - self.things - self.stuff in setting.background
        return setting.count == (self.stuff if setting.kind == "stuff" else self.things)

    def __str__(self) -> str:
        """The numbers in words."""
        if self.keypoints is not None:
            return f"{self.keypoints} keypoints"
        names = printable(", ".join(map(str, self.names[:2])))
        listed = f" ({names}{', ...' if len(self.names) > 2 else ''})" if names else ""
        stuff = f" and {self.stuff} of stuff" if self.stuff else ""
        return f"{self.things} classes{stuff}{listed}"


def check_class_names(cfg: Config, splits: Sequence[str]) -> None:
    """Refuse a string as the classes of a dataset unless it is a file of names.

    `classes=("ship")` is a string, whose characters the codebases would take for classes.

    Args:
        cfg: The config.
        splits: The splits that will be read, of 'train', 'val' and 'test'.

    Raises:
        UserError: Classes are a string.
    """
    for split, dataset in dataset_configs(cfg):
        for classes in ((dataset.get("metainfo") or {}).get("classes"), dataset.get("classes")):
            if split not in splits or not isinstance(classes, str) or "://" in classes:
                continue
            if not Path(classes).expanduser().is_file():
                raise UserError(
                    f"classes of the dataset for {split} is the string {classes!r}, and no file of"
                    f" names, one a line: for one class write classes=({classes!r},), with a comma"
                )


def check_class_counts(cfg: Config, splits: Sequence[str]) -> None:
    """Compare every number of classes or keypoints of a model with those of its datasets.

    Datasets that do not say their number pass, such as mmaction's without `num_classes`.

    Args:
        cfg: The config.
        splits: The splits that will be read, of 'train', 'val' and 'test'.

    Raises:
        UserError: Some numbers differ.
    """
    settings = [
        *class_settings(cfg.model),
        *class_settings(cfg.get("data_preprocessor"), "data_preprocessor"),
    ]
    # Blended labels have to be as long as the scores of the head.
    is_video = cfg.get("default_scope") == "mmaction"
    if is_video and len({s.count for s in settings if s.kind == "classes"}) > 1:
        raise UserError(
            "the parts of the model are for different numbers of classes:"
            f" {', '.join(map(str, settings))}. Set all of them to the number of classes of the"
            " data"
        )
    # Of models trained on merged datasets: the keypoints that a test evaluates.
    chosen = (cfg.model.get("test_cfg") or {}).get("output_keypoint_indices")
    for split, dataset in dataset_configs(cfg):
        if split not in splits:
            continue
        classes = dataset_classes(dataset, cfg.get("default_scope"))
        wrong = [setting for setting in settings if not classes.agree_with(setting)]
        if split != "train":
            wrong = [setting for setting in wrong if setting.kind != "weights"]  # of the loss
            if chosen and len(chosen) == classes.keypoints:
                wrong = []
        if wrong:
            source = dataset.get("ann_file") or dataset.get("data_root") or type_name(dataset)
            raise UserError(
                f"the dataset for {split} ({source}) has {classes}, but the model is for another"
                f" number: {', '.join(map(str, wrong))}. Set {'it' if len(wrong) == 1 else 'them'},"
                f" or {'metainfo' if classes.names or not is_video else 'num_classes'} of the"
                " dataset"
            )


def dataset_classes(dataset: Mapping[str, Any], scope: str | None) -> Classes:
    """Return the classes or keypoints that the config of a dataset, or else its type, states."""
    kind = dataset.get("type")
    if type_name(dataset) == "MOTChallengeDataset":  # trackers find one of its 13 classes
        return Classes()
    if isinstance(kind, str):
        kind = DATASETS.get(kind if "." in kind else f"{scope}.{kind}")
    if kind is None or not hasattr(kind, "_load_metainfo"):
        return Classes()
    given = dataset.get("metainfo")
    meta = kind._load_metainfo(None if given is None else dict(given)) or {}
    if "num_keypoints" in meta:
        converted = [
            step["num_keypoints"]
            for step in dataset.get("pipeline") or ()
            if type_name(step) == "KeypointConverter"
        ]
        return Classes(keypoints=[meta["num_keypoints"], *converted][-1])
    names = dataset.get("classes") or meta.get("classes") or ()
    if not isinstance(names, list | tuple):  # a single name, or a file that mmpretrain reads
        names = ()
    count = dataset.get("num_classes") or len(names) or None
    things, stuff = meta.get("thing_classes"), meta.get("stuff_classes")
    if things is not None and stuff is not None and len(things) + len(stuff) == count:
        return Classes(len(things), len(stuff), names=names)
    return Classes(count, names=names)
