"""Find and set the numbers of classes in the config of a model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from uniformer_mm.errors import UserError

KINDS = {
    "num_classes": "classes",
    "num_things_classes": "things",
    "num_stuff_classes": "stuff",
    "num_keypoints": "keypoints",
    "num_joints": "keypoints",
}
"""What a setting counts, by its name."""

SKIPPED = ("backbone", "rpn_head", "reid", "traj_head")
"""Parts of a model that do not count classes or keypoints of the data.

RPNs predict objectness, re-identification persons, and trajectories (mmpose, 3-D) one root joint.
"""

OWN_CLASSES = ("semantic_head", "STDCHead")
"""Names and types of heads with `num_classes` of their own: stuff (HTC), edges (mmseg)."""

KEYPOINT_HEADS = (
    *("HeatmapHead", "DeconvNormHeatmapHead", "CPMHead", "MSPNHead", "RTMCCHead", "RTMWHead"),
    *("SimCCHead", "ViPNASHead"),
)
"""Heads of mmpose with one output channel per keypoint."""

BACKGROUND = {"loss_cls": (1,), "loss_decode": (0, 1)}
"""Entries of a list of class weights beyond those of the classes, by the name of the loss."""


@dataclass(frozen=True)
class Setting:
    """A setting of a model that has to agree with the data.

    Attributes:
        path: Such as ``model.roi_head.bbox_head[1].num_classes``.
        node: The dict that holds it.
        key: Its key there.
        kind: 'classes', 'things', 'stuff', 'keypoints', or 'weights': a list with an entry per
            class, of things and stuff together.
        background: Of 'weights': how many entries there may be for the background.
    """

    path: str
    node: dict[str, Any]
    key: str
    kind: str
    background: tuple[int, ...] = (0,)

    @property
    def count(self) -> int:
        """The number, or the length of the list."""
        value = self.node[self.key]
        return len(value) if self.kind == "weights" else value

    def __str__(self) -> str:
        """Path and value."""
        if self.kind == "weights":
            return f"{self.path} has {self.count} entries"
        return f"{self.path}={self.count}"


def class_settings(model: Any, path: str = "model") -> Iterator[Setting]:
    """Yield every setting of a model's config that counts the classes or keypoints of the data.

    `SKIPPED` parts, heads with `OWN_CLASSES`, and models that read the names of classes (GLIP,
    Grounding DINO) are left out.
    """
    if isinstance(model, Sequence) and not isinstance(model, str):
        for index, part in enumerate(model):
            yield from class_settings(part, f"{path}[{index}]")
    if not isinstance(model, dict) or "language_model" in model:
        return
    name = path.rpartition(".")[-1].partition("[")[0]
    type_ = type_name(model)
    for key, value in model.items():
        kind = KINDS.get(key)
        if kind == "classes" and {name, type_} & {*OWN_CLASSES}:
            kind = None
        elif key == "out_channels" and type_ in KEYPOINT_HEADS:
            kind = "keypoints"
        elif key == "out_channels" and name == "aux_head_cfg":  # of mmaction's TPN
            kind = "classes"
        if kind and type(value) is int:
            yield Setting(f"{path}.{key}", model, key, kind)
        elif key == "class_weight" and name in BACKGROUND and isinstance(value, list | tuple):
            background = (0,) if model.get("use_sigmoid") else BACKGROUND[name]
            yield Setting(f"{path}.{key}", model, key, "weights", background)
        elif key not in SKIPPED:
            yield from class_settings(value, f"{path}.{key}")


def class_counts(model: Any) -> set[int]:
    """Return the numbers of classes of a model's heads, and the sums of things and stuff."""
    settings = list(class_settings(model))
    counts = {s.count for s in settings if s.kind in ("classes", "things")}
    stuff = {s.count for s in settings if s.kind == "stuff"}
    return counts | {count + more for count in counts for more in stuff}


def type_name(config: Mapping[str, Any]) -> str:
    """Return the name of the class that a config builds, without scope; empty if it has none."""
    kind = config.get("type", "")
    return kind.__name__ if isinstance(kind, type) else str(kind).rpartition(".")[-1]


def set_num_classes(model: Any, num_classes: int, num_stuff: int = 0, path: str = "model") -> None:
    """Set every number of classes of a model, and the length of lists of class weights.

    Args:
        model: Config of a model or of a part of it; changed in place.
        num_classes: Classes of the data; of panoptic data those that have instances.
        num_stuff: Stuff classes of panoptic data.
        path: Name of the part, for the error.

    Raises:
        UserError: The classes have different weights.
    """
    total = num_classes + num_stuff
    counts = {"classes": num_classes, "things": num_classes, "stuff": num_stuff}
    for setting in list(class_settings(model, path)):
        if setting.kind == "weights":
            weights = setting.node[setting.key]
            background = weights[-1:] if setting.background == (1,) else []
            of_classes = set(weights[: len(weights) - len(background)])
            if len(of_classes) != 1:
                raise UserError(
                    f"{setting.path} has weights of {setting.count} classes: write those of the"
                    f" {total} classes of the data into the config"
                )
            setting.node[setting.key] = [of_classes.pop()] * total + list(background)
        elif setting.kind in counts:
            setting.node[setting.key] = counts[setting.kind]
