"""What the hardware allows: measured speed of matrix products and of copies."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from uniformer_mm.analysis.timing import interleave

SIDES = {"cpu": (512, 1024, 2048), "cuda": (4096, 8192)}
"""Sides of the square matrices that are multiplied, by type of device."""

COPIED_BYTES = 2**28


@dataclass(frozen=True)
class Ceiling:
    """Best speeds seen.

    Attributes:
        flops: Floating-point operations per second of a matrix product.
        bytes: Bytes read and written per second by a copy.
    """

    flops: float
    bytes: float


def measure_ceiling(device: torch.device, dtype: torch.dtype, rounds: int = 5) -> Ceiling:
    """Measure matrix products of several sizes, and a copy of 256 MiB."""
    products = {}
    for side in SIDES["cuda" if device.type == "cuda" else "cpu"]:
        a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        products[str(side)] = _product(a, b)
    timings = interleave(products, device, rounds)
    flops = max(2 * int(side) ** 3 / min(timing.seconds) for side, timing in timings.items())
    source = torch.ones(COPIED_BYTES // 4, device=device)
    target = torch.empty_like(source)
    copy = interleave({"copy": lambda: target.copy_(source)}, device, rounds)["copy"]
    return Ceiling(flops, 2 * COPIED_BYTES / min(copy.seconds))


def count_flops(run: Callable[[], object]) -> int:
    """Floating-point operations, two per multiply-add, of products and convolutions in a call."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def _product(a: torch.Tensor, b: torch.Tensor) -> Callable[[], object]:
    return lambda: a @ b
