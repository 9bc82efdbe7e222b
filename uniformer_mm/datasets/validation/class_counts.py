"""Numbers of classes in a model's config: where they stand, and how to set them."""

from __future__ import annotations

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
"""Parts of a model that count no classes or keypoints of the data.

RPNs know objects only, re-identification persons, and trajectories (mmpose, 3-D) one root joint.
"""

OWN_CLASSES = ("semantic_head", "STDCHead")
"""Names and types of heads with `num_classes` of their own: HTC's of stuff, mmseg's of edges."""

KEYPOINT_HEADS = (
    *("HeatmapHead", "DeconvNormHeatmapHead", "CPMHead", "MSPNHead", "RTMCCHead", "RTMWHead"),
    *("SimCCHead", "ViPNASHead"),
)
"""Heads of mmpose with an output channel for each keypoint."""

WEIGHTS_BEYOND = {"loss_cls": (1,), "loss_decode": (0, 1)}
"""Entries of a list of class weights beyond those of the classes, by the name of the loss."""


@dataclass(frozen=True)
class Place:
    """A setting of a model that has to agree with the data.

    Attributes:
        path: Such as ``model.roi_head.bbox_head[1].num_classes``.
        node: The dict it stands in.
        key: Its name there.
        kind: 'classes', 'things', 'stuff', 'keypoints', or 'weights': a list with an entry for each
            class, of things and stuff together.
        beyond: Of 'weights': how many entries there may be for the background.
    """

    path: str
    node: dict[str, Any]
    key: str
    kind: str
    beyond: tuple[int, ...] = (0,)

    @property
    def count(self) -> int:
        """The number, or the length of the list."""
        value = self.node[self.key]
        return len(value) if self.kind == "weights" else value


def class_places(model: Any, path: str = "model") -> Iterator[Place]:
    """Every setting of a model's config that counts the data's classes or keypoints.

    Left out are `SKIPPED` parts, heads with `OWN_CLASSES`, and models that read the names of
    classes (GLIP, Grounding DINO), which take any number.
    """
    if isinstance(model, Sequence) and not isinstance(model, str):
        for index, part in enumerate(model):
            yield from class_places(part, f"{path}[{index}]")
    if not isinstance(model, dict) or "language_model" in model:
        return
    name = path.rpartition(".")[-1].partition("[")[0]
    kind = type_name(model)
    for key, value in model.items():
        counted = KINDS.get(key)
        if counted == "classes" and {name, kind} & {*OWN_CLASSES}:
            counted = None
        elif key == "out_channels" and kind in KEYPOINT_HEADS:
            counted = "keypoints"
        elif key == "out_channels" and name == "aux_head_cfg":  # of mmaction's TPN
            counted = "classes"
        if counted and type(value) is int:
            yield Place(f"{path}.{key}", model, key, counted)
        elif key == "class_weight" and name in WEIGHTS_BEYOND and isinstance(value, list | tuple):
            beyond = (0,) if model.get("use_sigmoid") else WEIGHTS_BEYOND[name]
            yield Place(f"{path}.{key}", model, key, "weights", beyond)
        elif key not in SKIPPED:
            yield from class_places(value, f"{path}.{key}")


def type_name(config: Mapping[str, Any]) -> str:
    """Name of the class of a part of a config, without scope; empty if it has none."""
    kind = config.get("type", "")
    return kind.__name__ if isinstance(kind, type) else str(kind).rpartition(".")[-1]


def set_num_classes(model: Any, num_classes: int, num_stuff: int = 0, path: str = "model") -> None:
    """Set every number of classes of a model, and lengthen or shorten lists of class weights.

    Args:
        model: Config of a model or of a part of it; changed in place.
        num_classes: Classes of the data; of panoptic data those that have instances.
        num_stuff: Further classes of panoptic data.
        path: Name of the part, for the error.

    Raises:
        UserError: The classes have weights of their own.
    """
    for place in list(class_places(model, path)):
        if place.kind in ("classes", "things"):
            place.node[place.key] = num_classes
        elif place.kind == "stuff":
            place.node[place.key] = num_stuff
        elif place.kind == "weights":
            place.node[place.key] = _resized(place, num_classes + num_stuff)


def _resized(place: Place, count: int) -> list[float]:
    """Weights of `count` classes, and of the background if that is among them."""
    weights = place.node[place.key]
    background = weights[-1:] if place.beyond == (1,) else []
    of_classes = set(weights[: len(weights) - len(background)])
    if len(of_classes) != 1:
        raise UserError(
            f"{place.path} has weights of {place.count} classes: give those of the {count} classes"
            " of the data in the config"
        )
    return [of_classes.pop()] * count + list(background)
