"""From a model to a graph for inputs of all sizes."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo.exc import UserError as TorchUserError
from torch.export import Dim, ExportedProgram
from torch.utils._pytree import tree_leaves
from torch.utils._sympy.value_ranges import ValueRanges

from uniformer_mm.apis.faults import reason
from uniformer_mm.compat.torch_internals import drop_layout_guards, size_oblivious_export
from uniformer_mm.errors import UserError
from uniformer_mm.export.adapting import adapt
from uniformer_mm.models.archs import MIN_SIZE
from uniformer_mm.models.fuse import fuse
from uniformer_mm.models.uniformer import UniFormer
from uniformer_mm.tasks import Task

PARTS = ("backbone", "neck", "model")

LEAST = {"batch": 1, "segments": 1, "frames": 1, "height": MIN_SIZE, "width": MIN_SIZE}
"""Smallest sizes of the axes that may have any size."""


class Part(nn.Module):
    """What is exported of a model: normalised inputs to a tuple of outputs.

    Args:
        model: A model of any task; its modules are shared.
        task: What it is for.
        part: 'backbone', 'neck' (with the backbone) or 'model'.

    Raises:
        UserError: The model has no such part, or it cannot be exported.
    """

    def __init__(self, model: Any, task: Task, part: str = "model") -> None:
        super().__init__()
        if not isinstance(getattr(model, "backbone", None), UniFormer):
            raise UserError("what is exported are models whose backbone is a UniFormer")
        if part == "neck" and not getattr(model, "with_neck", False):
            raise UserError("--part neck: this model has none; --part backbone has its features")
        if part == "model" and task.output_name is None:
            raise UserError(
                f"--part model: of {task.scope}'s models all but the heads can be exported, whose"
                " boxes are work for Python; take --part neck"
            )
        self.model = model
        self.task = task
        self.part = part

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the input's axes."""
        if self.model.backbone.dims == 3:
            return ("batch", "channels", "frames", "height", "width")
        if self.task.takes_clips and self.part == "model":
            return ("batch", "segments", "channels", "height", "width")
        return ("batch", "channels", "height", "width")

    @property
    def window_size(self) -> int:
        """Side of the attention windows of stage 3 in tokens, 0 if there are none."""
        return max(
            (getattr(module, "window_size", 0) for module in self.model.backbone.modules()),
            default=0,
        )

    def sizes(
        self,
        seen: Sequence[int],
        size: Sequence[int] | None = None,
        frames: int | None = None,
    ) -> dict[str, int]:
        """Sizes of an input by the names of its axes.

        Args:
            seen: Shape of what the whole model gets from its data preprocessor.
            size: Another height and width.
            frames: Other frames of a clip, or segments of a video.

        Raises:
            UserError: They are not for this model.
        """
        names = {
            4: ("batch", "channels", "height", "width"),
            5: ("batch", "segments", "channels", "height", "width"),
            6: ("batch", "views", "channels", "frames", "height", "width"),
        }[len(seen)]
        sizes = {name: n for name, n in zip(names, seen, strict=True) if name in self.axes}
        if size is not None:
            sizes["height"], sizes["width"] = size
        if frames is not None:
            axis = next((name for name in ("frames", "segments") if name in sizes), None)
            if axis is None:
                raise UserError("--frames is for clips: the input is an image")
            sizes[axis] = frames
        for name, least in LEAST.items():
            if sizes.get(name, least) < least:
                raise UserError(f"the {name} of an input is at least {least}, not {sizes[name]}")
        return sizes

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Shape of an input of these sizes."""
        return tuple(sizes[name] for name in self.axes)

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """An input with the axes `axes` to features, or to what the head says of it."""
        if self.part == "model":
            outputs = self.task.raw_outputs(self.model, inputs)
        else:
            outputs = self.model.backbone(inputs)
            if self.part == "neck":
                outputs = self.model.neck(outputs)
        return tuple(tree_leaves(outputs))

    def output_names(self, number: int) -> list[str]:
        """Names of so many outputs."""
        name = self.task.output_name if self.part == "model" else "features"
        return [f"{name}_{i}" for i in range(number)] if number > 1 else [str(name)]


def exportable(part: Part, fused: bool) -> Part:
    """A copy for `trace`, maybe with a fused backbone."""
    ready = fuse(part) if fused else copy.deepcopy(part).eval().requires_grad_(False)
    adapt(ready)
    return ready  # type: ignore[return-value]


def trace(part: Part, sizes: Mapping[str, int], dynamic: bool = True) -> ExportedProgram:
    """The graph of a part of a model.

    Args:
        part: What `exportable` returned.
        sizes: Of the input, by the names of its axes.
        dynamic: Whether the graph takes any number of inputs of any size, or only these.

    Raises:
        UserError: Something in the model is only known for one size.
    """
    axes = part.axes
    if dynamic:
        sizes = _distinct(sizes)
    example = torch.zeros(part.shape(sizes))
    free = {i: Dim.DYNAMIC for i, name in enumerate(axes) if name in LEAST}
    # Sizes of 1 are not told apart, nor is a layout in memory that only holds for some sizes.
    with torch.no_grad(), size_oblivious_export():
        try:
            program = torch.export.export(
                part, (example,), dynamic_shapes=(free,) if dynamic else None, strict=False
            )
        except TorchUserError as error:
            raise UserError(
                f"the model cannot be exported for all sizes, but maybe for one, with --static:"
                f" {reason(error)}"
            ) from error
    if dynamic:
        _forget_layouts(program, axes)
    return program


def _distinct(sizes: Mapping[str, int]) -> dict[str, int]:
    """Sizes of a dynamic example: axes of the same size would be taken for one.

    Nothing may be 1 anywhere in the model either, and the shortest axis is halved in the stem.
    """
    least = {"batch": 2, "segments": 3, "frames": 4, "height": 2 * MIN_SIZE, "width": 2 * MIN_SIZE}
    distinct = {name: max(size, least.get(name, size)) for name, size in sizes.items()}
    distinct["batch"] = least["batch"]
    if distinct["height"] == distinct["width"]:
        distinct["width"] += MIN_SIZE
    return distinct


def _forget_layouts(program: ExportedProgram, axes: Sequence[str]) -> None:
    """Let a graph take all sizes that the model takes.

    torch notes for which sizes convolutions chose their layout in memory, and would refuse others:
    a single image, or one whose last map has a single row. Results do not depend on the layout.
    """
    drop_layout_guards(program)
    (shape,) = (
        node.meta["val"].shape
        for node in program.graph.nodes
        if node.name in program.graph_signature.user_inputs
    )
    for name, size in zip(axes, shape, strict=True):
        if name in LEAST:
            symbol = size.node.expr
            upper = program.range_constraints[symbol].upper
            program.range_constraints[symbol] = ValueRanges(LEAST[name], upper)
