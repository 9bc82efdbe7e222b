"""Whether a model has as many classes, or keypoints, as the data it is trained or tested on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS

from uniformer_mm.datasets.overrides import dataset_configs
from uniformer_mm.datasets.validation.class_counts import Place, class_places, type_name
from uniformer_mm.errors import UserError, printable


@dataclass(frozen=True)
class Counts:
    """Numbers of classes of a dataset; None where it does not say.

    Attributes:
        classes: Classes, of panoptic data those that have instances.
        stuff: Further classes of panoptic data.
        keypoints: Keypoints of a pose.
        names: Of the classes.
    """

    classes: int | None = None
    stuff: int = 0
    keypoints: int | None = None
    names: Sequence[str] = ()

    def of(self, place: Place) -> tuple[int, ...]:
        """The numbers that fit a place; empty if every number does."""
        if place.kind == "keypoints":
            return () if self.keypoints is None else (self.keypoints,)
        if self.classes is None:
            return ()
        if place.kind == "weights":
            return tuple(self.classes + self.stuff + beyond for beyond in place.beyond)
        return (self.stuff if place.kind == "stuff" else self.classes,)

    def __str__(self) -> str:
        """In words."""
        if self.keypoints is not None:
            return f"{self.keypoints} keypoints"
        names = printable(", ".join(map(str, self.names[:2])))
        listed = f" ({names}{', ...' if len(self.names) > 2 else ''})" if names else ""
        stuff = f" and {self.stuff} of stuff" if self.stuff else ""
        return f"{self.classes} classes{stuff}{listed}"


def check_class_counts(cfg: Config, splits: Sequence[str]) -> None:
    """Compare every number of classes or keypoints of a model with those of its datasets.

    Datasets of mmaction say it by their own `num_classes`, if at all. What does not say it passes.

    Args:
        cfg: The config.
        splits: Of 'train', 'val' and 'test' those whose data will be read.

    Raises:
        UserError: Some differ.
    """
    places = [
        *class_places(cfg.model),
        *class_places(cfg.get("data_preprocessor"), "data_preprocessor"),
    ]
    if not places:
        return
    # Blended labels have to be as long as the scores of the head.
    is_video = cfg.get("default_scope") == "mmaction"
    if is_video and len({place.count for place in places if place.kind == "classes"}) > 1:
        raise UserError(
            f"the parts of the model are for different numbers of classes: {_listed(places)}."
            " Set all of them to the number of classes of the data"
        )
    # Of models trained on merged sets: which of their keypoints a test looks at.
    chosen = (cfg.model.get("test_cfg") or {}).get("output_keypoint_indices")
    for split, dataset in dataset_configs(cfg):
        if split not in splits:
            continue
        counts = dataset_counts(dataset, cfg.get("default_scope"))
        wrong = [
            place
            for place in places
            if counts.of(place)
            and place.count not in counts.of(place)
            and (split == "train" or place.kind != "weights")  # which only the loss knows
            and (split == "train" or not chosen or len(chosen) != counts.keypoints)
        ]
        if wrong:
            source = dataset.get("ann_file") or dataset.get("data_root") or type_name(dataset)
            raise UserError(
                f"the dataset for {split} ({source}) has {counts}, but the model is for another"
                f" number: {_listed(wrong)}. Set {'it' if len(wrong) == 1 else 'them'}, or"
                f" {'metainfo' if counts.names or not is_video else 'num_classes'} of the dataset"
            )


def dataset_counts(dataset: Mapping[str, Any], scope: str | None) -> Counts:
    """What the config of a dataset, or else its class, says of its classes or keypoints."""
    kind = dataset.get("type")
    if type_name(dataset) == "MOTChallengeDataset":  # trackers find one of its 13 classes
        return Counts()
    if isinstance(kind, str):
        kind = DATASETS.get(kind if "." in kind else f"{scope}.{kind}")
    if kind is None or not hasattr(kind, "_load_metainfo"):
        return Counts()
    given = dataset.get("metainfo")
    meta = kind._load_metainfo(None if given is None else dict(given)) or {}
    if "num_keypoints" in meta:
        converted = [
            step["num_keypoints"]
            for step in dataset.get("pipeline") or ()
            if type_name(step) == "KeypointConverter"
        ]
        return Counts(keypoints=converted[-1] if converted else meta["num_keypoints"])
    names = dataset.get("classes") or meta.get("classes") or ()
    if not isinstance(names, list | tuple):  # a single name, or a file that mmpretrain reads
        names = ()
    count = dataset.get("num_classes") or len(names) or None
    things, stuff = meta.get("thing_classes"), meta.get("stuff_classes")
    if things is not None and stuff is not None and len(things) + len(stuff) == count:
        return Counts(len(things), len(stuff), names=names)
    return Counts(count, names=names)


def _listed(places: Sequence[Place]) -> str:
    """Settings and their values."""
    return ", ".join(
        f"{place.path} has {place.count} entries"
        if place.kind == "weights"
        else f"{place.path}={place.count}"
        for place in places
    )
