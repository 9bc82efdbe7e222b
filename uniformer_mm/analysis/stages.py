"""What each stage of a backbone costs, beside the least that its operations can take."""

import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from uniformer_mm.analysis.ceiling import Ceiling


@dataclass
class StageCost:
    """One stage: its patch embedding, its blocks and its output norm.

    Attributes:
        seconds: One entry per timed call.
        flops: Floating-point operations of products, convolutions and attention.
        bytes: What the operations read and write, each tensor once per operation.
        floor: Seconds that the operations take at least, one after the other: each as many as
            its arithmetic at the speed of large products or its bytes at the speed of a copy.
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
    model: nn.Module, run: Callable[[], object], ceiling: Ceiling, device: torch.device, rounds: int
) -> dict[str, StageCost]:
    """Costs of the forward pass by stage.

    Args:
        model: A backbone that is not compiled.
        run: Calls it once.
        ceiling: Speeds of the same device in the same number format.
        device: Where the model is.
        rounds: Timed calls, after two that are not.
    """
    numbers = [i for i in range(1, 5) if hasattr(model, f"patch_embed{i}")]
    costs = {f"stage {number}": StageCost() for number in numbers}
    clock = _Clock(device)
    ledger = _Ledger(ceiling)
    with _at_each_stage(model, numbers, lambda index: ledger.turn_to(list(costs.values())[index])):
        run()
        with ledger:
            run()
    with _at_each_stage(model, numbers, lambda _: clock.mark()):
        for call in range(rounds + 2):
            run()
            clock.mark()
            seconds = clock.read()
            if call >= 2:
                for cost, taken in zip(costs.values(), seconds, strict=True):
                    cost.seconds.append(taken)
    return costs


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


class _Clock:
    """Moments in the stream of a device."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"
        self.marks: list[Any] = []

    def mark(self) -> None:
        if self.cuda:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self.marks.append(event)
        else:
            self.marks.append(time.perf_counter())

    def read(self) -> list[float]:
        """Seconds between the marks, which are forgotten."""
        marks, self.marks = self.marks, []
        pairs = list(itertools.pairwise(marks))
        if not self.cuda:
            return [end - start for start, end in pairs]
        marks[-1].synchronize()
        return [start.elapsed_time(end) / 1000 for start, end in pairs]


class _Ledger(TorchDispatchMode):
    """Counts the work of every operation for the stage whose turn it is."""

    def __init__(self, ceiling: Ceiling) -> None:
        super().__init__()
        self.ceiling = ceiling
        self.cost = StageCost()

    def turn_to(self, cost: StageCost) -> None:
        self.cost = cost

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        inputs = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        outputs = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
        if not _only_allocates(func, inputs, outputs):
            moved = sum(tensor.nbytes for tensor in [*inputs, *outputs])
            flops = _flops(func, args, kwargs or {}, out)
            self.cost.flops += flops
            self.cost.bytes += moved
            self.cost.floor += max(flops / self.ceiling.flops, moved / self.ceiling.bytes)
        return out


def _only_allocates(func: Any, inputs: list[Tensor], outputs: list[Tensor]) -> bool:
    """Whether an operation moves nothing: a view, or new memory."""
    if func._schema.is_mutable:
        return False
    addresses = {tensor.data_ptr() for tensor in inputs}
    views = all(tensor.data_ptr() in addresses for tensor in outputs)
    return views or "empty" in func._schema.name


def _flops(func: Any, args: tuple, kwargs: dict, out: Any) -> int:
    packet = func.overloadpacket
    if packet in flop_registry:
        return flop_registry[packet](*args, **kwargs, out_val=out)
    name = func._schema.name
    if name == "aten::_scaled_dot_product_flash_attention_for_cpu":
        return sdpa_flop_count(*(tensor.shape for tensor in args[:3]))
    if name == "mkldnn::_linear_pointwise":
        return 2 * math.prod(args[0].shape) * out.shape[-1]
    return 0
