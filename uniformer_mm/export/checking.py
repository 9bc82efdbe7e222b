"""Comparison of an exported file with the model."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch

from uniformer_mm.analysis.references import max_difference
from uniformer_mm.export.files import Run
from uniformer_mm.export.graph import MIN_SIZES, STRIDE


class Difference(NamedTuple):
    """Difference of two results for the same input.

    Attributes:
        shape: Shape of the input.
        absolute: Largest difference.
        relative: Largest difference in standard deviations of the output.
    """

    shape: tuple[int, ...]
    absolute: float
    relative: float


def check_sizes(sizes: Mapping[str, int], window: int) -> list[dict[str, int]]:
    """Sizes that detect a graph which is valid for its example only.

    Args:
        sizes: Sizes of the example by axis.
        window: Side of the attention windows in tokens, 0 if there are none.

    Returns:
        The example; a batch of two with height and width swapped; smaller and larger ones with odd
        sides; the smallest that the model takes; and maps of exactly one window, and of two windows
        and one row.
    """
    height, width = sizes["height"], sizes["width"]
    changes = [
        {},
        {"batch": 2, "height": width, "width": height},
        {"height": height * 5 // 8 | 1, "width": width * 3 // 4 | 1},
        {"height": height * 9 // 8 | 1, "width": width * 5 // 4 | 1},
        {"height": MIN_SIZES["height"], "width": MIN_SIZES["width"]},
    ]
    if window:
        side = window * STRIDE
        changes.append({"height": side, "width": side})
        changes.append({"height": side + STRIDE, "width": 2 * side})
    for name in ("frames", "segments"):
        if name in sizes:
            changes[2][name] = max(sizes[name] // 2, 1)
            changes[3][name] = sizes[name] + 1
    return [
        {name: max(size, MIN_SIZES.get(name, 1)) for name, size in {**sizes, **change}.items()}
        for change in changes
    ]


def differences(expected: Run, run: Run, shapes: Sequence[tuple[int, ...]]) -> Iterator[Difference]:
    """Compare two functions on random normalized inputs.

    Raises:
        UserError: The shapes of the results differ.
    """
    generator = torch.Generator().manual_seed(0)
    for shape in shapes:
        x = torch.randn(shape, generator=generator)
        ours, theirs = run(x), expected(x)
        relative = max_difference(ours, theirs)
        absolute = max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))
        yield Difference(shape, absolute, relative)
