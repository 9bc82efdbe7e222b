"""Graphs around that of a model: from a uint8 image to its input, from its outputs to results.

They repeat the test pipeline in operators of a graph. Resized pixels are those of OpenCV; the ones
of Pillow differ by one level where a value is within rounding of a half.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim

from uniformer_mm.errors import UserError
from uniformer_mm.export.detector import Size, paste
from uniformer_mm.export.files import INPUT, as_onnx, join
from uniformer_mm.export.graph import Part
from uniformer_mm.tasks.task import step_name
from uniformer_mm.torch_internals import drop_layout_guards

PICTURE = "image"
"""Name of the input: a picture (H, W, 3), uint8, BGR as `cv2.imread` returns it."""

Resample = Callable[[Tensor, Size], Tensor]

COEFFICIENT = 2048
"""Fixed-point 1 of OpenCV's weights."""


class Before(nn.Module):
    """The steps of a test pipeline between loading and packing, then normalization.

    Args:
        steps: Configs of the transforms.
        preprocessor: Data preprocessor of the model.
        channels: Order of the channels that the model takes.

    Raises:
        UserError: A step has no equivalent.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, steps: Sequence[Mapping[str, Any]], preprocessor: Any, channels: str
    ) -> None:
        super().__init__()
        ignored = ("Pack", "LoadAnnotations", "LoadLabelMap")
        self.steps = [step for step in steps if not step_name(step).startswith(ignored)]
        for step in self.steps:
            known = ("Resize", "ResizeEdge", "ResizeToMultiple", "CenterCrop")
            if step_name(step) not in known:
                raise UserError(
                    f"--preprocess: {step_name(step)} of the test pipeline is not known"
                )
            _resampling(step)
        self.reverse = channels == "RGB"
        shape = (1, 3, 1, 1)
        self.register_buffer("mean", preprocessor.mean.detach().clone().view(shape).float())
        self.register_buffer("std", preprocessor.std.detach().clone().view(shape).float())

    def forward(self, image: Tensor) -> Tensor:
        """A picture (H, W, 3) to a normalized input (1, 3, height, width)."""
        for step in self.steps:
            if step_name(step) == "CenterCrop":
                image = _center_crop(image, step["crop_size"])
            else:
                image = _resampling(step)(image, _target(step, (image.shape[0], image.shape[1])))
        if self.reverse:
            image = image.flip(-1)
        return (image.permute(2, 0, 1)[None].float() - self.mean) / self.std


class AfterDetector(nn.Module):
    """Detections in pixels of the input to detections in pixels of the picture.

    Args:
        threshold: Of a mask's probability; None for probabilities on a grid in the box.
    """

    def __init__(self, threshold: float | None) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(
        self, image: Tensor, inputs: Tensor, boxes: Tensor, *masks: Tensor
    ) -> tuple[Tensor, ...]:
        """Boxes, and masks if there are, of the picture."""
        height, width = image.shape[:2]
        down, across = (
            _ratio(new, old, boxes)
            for new, old in zip(inputs.shape[2:], (height, width), strict=True)
        )
        boxes = boxes / torch.stack([across, down, across, down])
        if masks and self.threshold is not None:
            return boxes, paste(masks[0], boxes, (height, width)) >= self.threshold
        return (boxes, *masks)


class AfterSegmenter(nn.Module):
    """Logits of classes to the class of each pixel of the picture."""

    def __init__(self, align_corners: bool) -> None:
        super().__init__()
        self.align_corners = align_corners

    def forward(self, image: Tensor, logits: Tensor) -> tuple[Tensor]:
        """Logits (1, classes, h, w) to labels (H, W)."""
        logits = F.interpolate(
            logits, size=image.shape[:2], mode="bilinear", align_corners=self.align_corners
        )
        return (logits[0].argmax(0),)


class AfterClassifier(nn.Module):
    """Logits of classes to probabilities."""

    def forward(self, logits: Tensor) -> tuple[Tensor]:
        """Logits (1, classes) to probabilities (classes,)."""
        return (logits[0].softmax(-1),)


def surround(main: Any, part: Part, steps: Sequence[Mapping[str, Any]], masks: str) -> Any:
    """An ONNX model from a picture to results around that of a model without the two.

    Args:
        main: ONNX model of `part`.
        part: A whole model, with masks on a grid in the box.
        steps: The test pipeline after loading.
        masks: Form of a detector's masks in the results.

    Raises:
        UserError: The task or a step is not one that this module knows.
    """
    before, after, inputs, outputs = around(part, steps, masks)
    examples = {
        PICTURE: torch.zeros(480, 637, 3, dtype=torch.uint8),
        INPUT: torch.zeros(1, 3, 300, 413),
        "boxes": torch.zeros(5, 4),
        "masks": torch.zeros(5, 28, 28),
        "logits": torch.zeros(1, 4, 300, 413) if part.task.scope == "mmseg" else torch.zeros(1, 4),
    }
    # Another name than that of the input, which may be the same.
    finished = {name: f"{name}_of_image" for name in outputs}
    graphs = [
        _picture_graph(before, examples, [PICTURE], [INPUT]),
        main,
        _picture_graph(after, examples, inputs, list(finished.values())),
    ]
    results = part.output_names(1) if part.detector else outputs
    return join(graphs, {finished.get(name, name): name for name in results})


def _picture_graph(
    module: nn.Module, examples: Mapping[str, Tensor], inputs: list[str], outputs: list[str]
) -> Any:
    """A small graph for pictures of all sizes."""
    free = [_free_axes(name, examples[name]) for name in inputs]
    # The inputs of a module with a variable number of them are one argument.
    shapes: Any = free if len(free) < 4 else [*free[:3], tuple(free[3:])]
    with torch.no_grad():
        program = torch.export.export(
            module,
            tuple(examples[name] for name in inputs),
            dynamic_shapes=tuple(shapes),
            strict=False,
        )
    drop_layout_guards(program)
    axes = ("height", "width", "channels") if inputs[0] == PICTURE else ("batch", "classes")
    return as_onnx(program, inputs, outputs, axes)


def _free_axes(name: str, example: Tensor) -> dict[int, Any]:
    axes = {PICTURE: (0, 1), INPUT: (2, 3), "boxes": (0,), "masks": (0,)}
    default = (1, 2, 3) if example.ndim == 4 else (1,)
    return dict.fromkeys(axes.get(name, default), Dim.DYNAMIC)


def around(
    part: Part, steps: Sequence[Mapping[str, Any]], masks: str
) -> tuple[Before, nn.Module, list[str], list[str]]:
    """The graphs before and after that of a model, and names of the latter's inputs and outputs.

    Args:
        part: A whole model, with masks on a grid in the box.
        steps: The test pipeline after loading.
        masks: Form of a detector's masks.

    Raises:
        UserError: The task or a step is not one that this module knows.
    """
    preprocessor = part.model.data_preprocessor
    before = Before(steps, preprocessor, part.task.channel_order(preprocessor))
    if part.detector:
        names = ["boxes", *(["masks"] if "masks" in part.detector.output_names else [])]
        threshold = part.model.roi_head.test_cfg.get("mask_thr_binary")
        detector = AfterDetector(threshold if masks == "image" else None)
        return before, detector, [PICTURE, INPUT, *names], names
    if part.task.scope == "mmseg" and part.part == "model":
        segmenter = AfterSegmenter(part.model.align_corners)
        return before, segmenter, [PICTURE, "logits"], ["labels"]
    if part.task.scope == "mmpretrain" and part.part == "model":
        return before, AfterClassifier(), ["logits"], ["scores"]
    raise UserError(
        "--preprocess is for whole models of detection, segmentation and classification; for the"
        " others see docs/export.md"
    )


def _resampling(step: Mapping[str, Any]) -> Resample:
    """The function of a step that resizes.

    Raises:
        UserError: There is none.
    """
    asked = (step.get("backend", "cv2"), step.get("interpolation") or "bilinear")
    known: dict[Any, Resample] = {
        ("cv2", "bilinear"): opencv_linear,
        ("pillow", "bicubic"): pillow_cubic,
    }
    if asked not in known:
        raise UserError(f"--preprocess: {step_name(step)} with {asked}; known are {list(known)}")
    return known[asked]


def _target(step: Mapping[str, Any], size: Size) -> Size:
    """Height and width after a step that resizes, in integers as mmcv rounds."""
    height, width = size
    if step_name(step) == "ResizeToMultiple":
        divisor = step.get("size_divisor", 32)
        return height + -height % divisor, width + -width % divisor
    shorter, longer = torch.sym_min(height, width), torch.sym_max(height, width)
    if step_name(step) == "ResizeEdge":
        if step.get("edge", "short") != "short":
            raise UserError("--preprocess: ResizeEdge of an edge other than the short one")
        edge = step["scale"]
        return edge * height // shorter, edge * width // shorter
    scale = step.get("scale")
    if scale is None:
        raise UserError("--preprocess: Resize without a scale")
    if not step.get("keep_ratio", False):
        return scale[1], scale[0]

    def scaled(side: Any) -> Any:
        return torch.sym_min(
            *(
                (2 * side * bound + edge) // (2 * edge)
                for bound, edge in ((max(scale), longer), (min(scale), shorter))
            )
        )

    return scaled(height), scaled(width)


def _center_crop(image: Tensor, size: int | Sequence[int]) -> Tensor:
    height, width = (size, size) if isinstance(size, int) else size
    top, left = (
        # Python rounds a half to the even integer.
        (side - kept + (side - kept) // 2 % 2) // 2
        for side, kept in zip(image.shape[:2], (height, width), strict=True)
    )
    return image[top : top + height, left : left + width]


def opencv_linear(image: Tensor, size: Size) -> Tensor:
    """Resize (H, W, 3) as OpenCV's INTER_LINEAR does for uint8: in fixed-point integers."""
    (first, second, weight, other), rows = (
        _neighbours(image.shape[axis], size[axis], image) for axis in (1, 0)
    )
    x = image.int()
    x = x[:, first] * weight[:, None] + x[:, second] * other[:, None]
    first, second, weight, other = rows
    x = x.div(16, rounding_mode="trunc")
    above, below = (
        (x[index] * share[:, None, None]).div(1 << 16, rounding_mode="trunc")
        for index, share in ((first, weight), (second, other))
    )
    return (above + below + 2).div(4, rounding_mode="trunc")


def pillow_cubic(image: Tensor, size: Size) -> Tensor:
    """Resize (H, W, 3) as Pillow's BICUBIC does: antialiased, rounded after each direction."""
    down, across = (_cubic(old, new, image) for old, new in zip(image.shape[:2], size, strict=True))
    x = image.permute(2, 0, 1).float()
    x = (x @ across.transpose(0, 1)).round().clamp(0, 255)
    return (down @ x).round().clamp(0, 255).permute(1, 2, 0)


def _neighbours(old: Any, new: Any, like: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Indices of the two pixels between which each new one is, and their weights.

    Beyond the edge both are the last pixel, whose two parts OpenCV rounds one by one.
    """
    double = torch.zeros((), dtype=torch.float64, device=like.device)
    pixel = torch.arange(new, dtype=torch.float64, device=like.device)
    place = ((pixel + 0.5) * (1 / _ratio(new, old, double)) - 0.5).float()
    share = place - place.floor()
    index = place.floor().long()
    first, second = (entry.clamp(0, old - 1) for entry in (index, index + 1))
    weight, other = ((part * COEFFICIENT).round().int() for part in (1 - share, share))
    return first, second, weight, other


def _cubic(old: Any, new: Any, like: Tensor) -> Tensor:
    """Weights (new, old) of Pillow's bicubic filter."""
    double = torch.zeros((), dtype=torch.float64, device=like.device)
    scale = _ratio(old, new, double)
    stretch = scale.clamp(min=1)
    center = (torch.arange(new, dtype=torch.float64, device=like.device)[:, None] + 0.5) * scale
    pixel = torch.arange(old, dtype=torch.float64, device=like.device)
    inside = (pixel >= (center - 2 * stretch + 0.5).floor()) & (
        pixel < (center + 2 * stretch + 0.5).floor()
    )
    x = ((pixel + 0.5 - center) / stretch).abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights = torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
    weights = weights * inside
    return (weights / weights.sum(1, keepdim=True)).float()


def _ratio(numerator: Any, denominator: Any, like: Tensor) -> Tensor:
    """The quotient of two sizes in the type of a tensor."""
    one, other = (
        torch.full((), size, dtype=like.dtype, device=like.device)
        for size in (numerator, denominator)
    )
    return one / other
