"""Cost of each stage of a backbone, and a lower bound of its time."""

import math
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from uniformer_mm.analysis.timing import Ceiling, now


@dataclass
class StageCost:
    """One stage: its patch embedding, its blocks and its output norm.

    Attributes:
        seconds: One entry per timed call.
        flops: Floating-point operations of products, convolutions and attention.
        bytes: Bytes that the operations read and write, each tensor once per operation.
        floor: Lower bound in seconds: the sum over operations of their arithmetic at the speed of
            large products or their bytes at the speed of a copy, whichever takes longer.
    """

    seconds: list[float] = field(default_factory=list)
    flops: int = 0
    bytes: int = 0
    floor: float = 0.0

    @property
    def median(self) -> float:
        """Median of the calls in seconds."""
        return statistics.median(self.seconds)


def stage_costs(
    model: nn.Module, run: Callable[[], object], ceiling: Ceiling, rounds: int, warmup: int = 2
) -> dict[str, StageCost]:
    """Costs of the forward pass by stage.

    Args:
        model: A backbone that is not compiled.
        run: Calls the model once.
        ceiling: Speeds of the same device in the same number format.
        rounds: Timed calls.
        warmup: Calls before the timed ones.
    """
    numbers = [i for i in range(1, 5) if hasattr(model, f"patch_embed{i}")]
    costs = [StageCost() for _ in numbers]
    counter = _CostCounter(ceiling)

    def count(index: int) -> None:
        counter.cost = costs[index]

    with _at_each_stage(model, numbers, count), counter:
        run()
    starts: list[float] = []
    with _at_each_stage(model, numbers, lambda _: starts.append(now())):
        for call in range(warmup + rounds):
            starts.clear()
            run()
            ends = [*starts[1:], now()]
            if call >= warmup:
                for cost, start, end in zip(costs, starts, ends, strict=True):
                    cost.seconds.append(end - start)
    return {f"stage {number}": cost for number, cost in zip(numbers, costs, strict=True)}


@contextmanager
def _at_each_stage(
    model: nn.Module, numbers: list[int], act: Callable[[int], None]
) -> Iterator[None]:
    """Call `act` with 0, 1 ... where the stages of a forward pass begin."""
    handles = [
        model.get_submodule(f"patch_embed{number}").register_forward_pre_hook(
            lambda *_, index=index: act(index)
        )
        for index, number in enumerate(numbers)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


CPU_OPERATIONS = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: (
        lambda query, key, value, *_, **__: sdpa_flop_count(query, key, value)
    ),
    getattr(torch.ops.mkldnn, "_linear_pointwise", None): (
        lambda x, *_, out_shape, **__: 2 * math.prod(x) * out_shape[-1]
    ),
}
"""Shapes to floating-point operations of what torch's own counter does not know."""


class _CostCounter(TorchDispatchMode):
    """Adds the cost of every operation to `cost`."""

    def __init__(self, ceiling: Ceiling) -> None:
        super().__init__()
        self.ceiling = ceiling
        self.cost = StageCost()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        with FlopCounterMode(display=False, custom_mapping=CPU_OPERATIONS) as counter:
            out = func(*args, **(kwargs or {}))
        inputs, outputs = (
            [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
            for tree in ((args, kwargs), out)
        )
        if not _only_allocates(func, inputs, outputs):
            flops = counter.get_total_flops()
            moved = sum(tensor.nbytes for tensor in [*inputs, *outputs])
            self.cost.flops += flops
            self.cost.bytes += moved
            self.cost.floor += max(flops / self.ceiling.flops, moved / self.ceiling.bytes)
        return out


def _only_allocates(func: Any, inputs: list[Tensor], outputs: list[Tensor]) -> bool:
    """Whether an operation moves no data: a view, or new memory."""
    if func._schema.is_mutable:
        return False
    addresses = {tensor.data_ptr() for tensor in inputs}
    views = all(tensor.data_ptr() in addresses for tensor in outputs)
    return views or "empty" in func._schema.name
