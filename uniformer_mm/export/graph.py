"""Tracing of a model into a graph for inputs of all sizes."""

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo.exc import UserError as TorchUserError
from torch.export import Dim, ExportedProgram
from torch.utils._pytree import tree_leaves
from torch.utils._sympy.value_ranges import ValueRanges

from uniformer_mm.apis.diagnosis import reason
from uniformer_mm.errors import UserError
from uniformer_mm.export.adapting import adapt
from uniformer_mm.export.detector import Detector
from uniformer_mm.models.archs import MIN_SIZE
from uniformer_mm.models.fuse import fuse
from uniformer_mm.models.uniformer import UniFormer
from uniformer_mm.tasks import Task
from uniformer_mm.torch_internals import drop_layout_guards

PARTS = ("backbone", "neck", "model")

STRIDE = 16
"""Pixels of an image per token of stage 3, where the windows are."""

MIN_SIZES = {"batch": 1, "segments": 1, "frames": 1, "height": MIN_SIZE, "width": MIN_SIZE}
"""Minimum sizes of the dynamic axes."""


class Part(nn.Module):
    """The exported part of a model: normalized inputs to a tuple of outputs.

    Args:
        model: A model of any task; its modules are shared.
        task: Its task.
        part: 'backbone', 'neck' (with the backbone) or 'model'.
        masks: Form of the masks of a whole detector, see `Detector`.

    Raises:
        UserError: The model has no such part, or it cannot be exported.
    """

    def __init__(self, model: Any, task: Task, part: str = "model", masks: str = "image") -> None:
        super().__init__()
        if not isinstance(getattr(model, "backbone", None), UniFormer):
            raise UserError("only models with a UniFormer backbone can be exported")
        if part == "neck" and not getattr(model, "with_neck", False):
            raise UserError("--part neck: this model has no neck; use --part backbone")
        self.model = model
        self.task = task
        self.part = part
        self.detector = (
            Detector(model, masks) if part == "model" and task.scope == "mmdet" else None
        )

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the input's axes."""
        if self.model.backbone.dims == 3:
            return ("batch", "channels", "frames", "height", "width")
        if self.task.takes_clips and self.part == "model":
            return ("batch", "segments", "channels", "height", "width")
        return ("batch", "channels", "height", "width")

    @property
    def dynamic_axes(self) -> tuple[str, ...]:
        """The axes whose size is free; a whole detector takes one image."""
        fixed = ("channels", "batch") if self.detector else ("channels",)
        return tuple(name for name in self.axes if name not in fixed)

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
            seen: Shape of the output of the data preprocessor.
            size: Another height and width.
            frames: Other frames of a clip, or segments of a video.

        Raises:
            UserError: The model does not take them.
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
                raise UserError("--frames is for clips, the input of this model is an image")
            sizes[axis] = frames
        for name, minimum in MIN_SIZES.items():
            if sizes.get(name, minimum) < minimum:
                raise UserError(
                    f"{name} of the input must be at least {minimum}, not {sizes[name]}"
                )
        return sizes

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Shape of an input of these sizes."""
        return tuple(sizes[name] for name in self.axes)

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """An input with the axes `axes` to features, or to the output of the head."""
        if self.detector:
            return self.detector(inputs)
        if self.part == "model":
            outputs = self.task.raw_outputs(self.model, inputs)
        else:
            outputs = self.model.backbone(inputs)
            if self.part == "neck":
                outputs = self.model.neck(outputs)
        return tuple(tree_leaves(outputs))

    def output_names(self, number: int) -> list[str]:
        """Names of outputs."""
        if self.detector:
            return self.detector.output_names
        name = self.task.output_name if self.part == "model" else "features"
        return [f"{name}_{i}" for i in range(number)] if number > 1 else [str(name)]


def exportable(part: Part, fused: bool) -> Part:
    """A copy for `trace`, if `fused` with a fused backbone."""
    ready = fuse(part) if fused else copy.deepcopy(part).eval().requires_grad_(False)
    adapt(ready)
    return ready  # type: ignore[return-value]


def trace(part: Part, sizes: Mapping[str, int], dynamic: bool = True) -> ExportedProgram:
    """The graph of a part of a model.

    Args:
        part: What `exportable` returned.
        sizes: Of the input, by the names of its axes.
        dynamic: Whether the graph takes batches and inputs of any size, or only these.

    Raises:
        UserError: Something in the model depends on the size.
    """
    axes = part.axes
    if dynamic:
        sizes = _distinct(sizes, part.window_size)
        if "batch" not in part.dynamic_axes:
            sizes["batch"] = 1
    example = torch.zeros(part.shape(sizes))
    free = {i: Dim.DYNAMIC for i, name in enumerate(axes) if name in part.dynamic_axes}
    with torch.no_grad(), warnings.catch_warnings():
        # torchvision calls what torch warns about.
        warnings.filterwarnings("ignore", "`create_unbacked_symint`", FutureWarning)
        try:
            program = torch.export.export(
                part, (example,), dynamic_shapes=(free,) if dynamic else None, strict=False
            )
        except TorchUserError as error:
            raise UserError(
                "the model cannot be exported for all sizes; --static may export it for one:"
                f" {reason(error)}"
            ) from error
    if dynamic:
        drop_layout_guards(program)
        _set_size_ranges(program, part)
    return program


def _distinct(sizes: Mapping[str, int], window: int) -> dict[str, int]:
    """Sizes of a dynamic example: torch.export treats axes of equal size as one axis.

    No size may be 1 anywhere in the model either, the number of windows included, and the stem
    halves the shortest axis.
    """
    minimum = {
        "batch": 2,
        "segments": 3,
        "frames": 4,
        "height": max(4, window + 1) * STRIDE,
        "width": max(4, 2 * window + 1) * STRIDE,
    }
    distinct = {name: max(size, minimum.get(name, size)) for name, size in sizes.items()}
    distinct["batch"] = minimum["batch"]
    if distinct["height"] == distinct["width"]:
        distinct["width"] += MIN_SIZE
    return distinct


def _set_size_ranges(program: ExportedProgram, part: Part) -> None:
    """Let a graph take all sizes that the model takes."""
    (shape,) = (
        node.meta["val"].shape
        for node in program.graph.nodes
        if node.name in program.graph_signature.user_inputs
    )
    for name, size in zip(part.axes, shape, strict=True):
        if name in part.dynamic_axes:
            symbol = size.node.expr
            upper = program.range_constraints[symbol].upper
            program.range_constraints[symbol] = ValueRanges(MIN_SIZES[name], upper)
