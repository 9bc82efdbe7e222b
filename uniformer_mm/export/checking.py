"""Whether an exported file computes what the model computes, and how fast."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from uniformer_mm.benchmark.peers import agreement
from uniformer_mm.export.files import Run
from uniformer_mm.models.archs import MIN_SIZE

STRIDE = 16
"""Pixels of an image per token of stage 3, where the windows are."""


@dataclass(frozen=True)
class Difference:
    """How far two results for the same input are apart.

    Attributes:
        shape: Of the input.
        absolute: Largest difference.
        relative: Largest difference in standard deviations of the output.
    """

    shape: tuple[int, ...]
    absolute: float
    relative: float


def check_sizes(sizes: Mapping[str, int], window: int) -> list[dict[str, int]]:
    """Sizes that between them find a graph that is right for its example only.

    Args:
        sizes: Of the example, by the names of its axes.
        window: Side of the attention windows in tokens, 0 if there are none.

    Returns:
        The example; a batch of two, upright instead of lying; smaller and larger ones with odd
        sides; the smallest that the model takes; a map that is one window, and one that is one by
        two and a row more.
    """
    height, width = sizes["height"], sizes["width"]
    changes = [
        {},
        {"batch": 2, "height": width, "width": height},
        {"height": height * 5 // 8 | 1, "width": width * 3 // 4 | 1},
        {"height": height * 9 // 8 | 1, "width": width * 5 // 4 | 1},
        {"height": MIN_SIZE, "width": MIN_SIZE},
    ]
    if window:
        side = window * STRIDE
        changes.append({"height": side, "width": side})
        changes.append({"height": side + STRIDE, "width": 2 * side})
    for name in ("frames", "segments"):
        if name in sizes:
            changes[2][name] = max(sizes[name] // 2, 1)
            changes[3][name] = sizes[name] + 1
    checked = [{**sizes, **change} for change in changes]
    for entry in checked:
        for name in ("height", "width"):
            entry[name] = max(entry[name], MIN_SIZE)
    return checked


def differences(expected: Run, run: Run, shapes: Sequence[tuple[int, ...]]) -> Iterator[Difference]:
    """Compare two ways to compute the same for random normalised inputs.

    Raises:
        UserError: The results have different shapes.
    """
    generator = torch.Generator().manual_seed(0)
    for shape in shapes:
        x = torch.randn(shape, generator=generator)
        ours, theirs = run(x), expected(x)
        relative = agreement(ours, theirs)
        absolute = max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))
        yield Difference(shape, absolute, relative)
