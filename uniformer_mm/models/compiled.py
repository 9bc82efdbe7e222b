"""Compile a backbone block by block."""

import functools
from types import FunctionType, MethodType
from typing import Any

from torch import nn

from uniformer_mm.models.uniformer import UniFormer
from uniformer_mm.torch_internals import keep_running_eagerly, raise_recompile_limit

GRAPHS = 32
"""Graphs of one kind of block in one stage: in training and evaluation, of one size and of all."""


def compile_blocks(model: nn.Module, **options: Any) -> None:
    """Let `torch.compile` compile the backbones of a model in place, on their next call.

    Each embedding and block is compiled by itself. Blocks of a stage share one graph, so this takes
    a fraction of the time for the whole backbone. What the compiler cannot compile, such as some
    graphs for all input sizes, runs eagerly, and a warning says so.

    Args:
        model: A backbone, or a model that contains one. Its state-dict keys stay as they are.
        **options: Of `torch.compile`, such as ``dynamic=False`` for a graph per input size.
    """
    raise_recompile_limit(GRAPHS)
    keep_running_eagerly()
    for backbone in model.modules():
        if isinstance(backbone, UniFormer):
            backbone.recompute = False  # the compiler decides what the backward pass recomputes
            for number, stage in enumerate(backbone.stages, start=1):
                for module in (stage.patch_embed, *stage.blocks):
                    forward = _forward_of_stage(type(module).forward, number)
                    module.forward = MethodType(forward, module)
                    module.compile(**options)


@functools.cache
def _forward_of_stage(function: Any, number: int) -> FunctionType:
    """Copy a function for one stage.

    The compiler remembers sizes by function: it would take those of the next stage for sizes that
    vary, and compile a slower graph for all sizes.
    """
    code = function.__code__.replace(co_name=f"{function.__name__}_of_stage_{number}")
    copied = FunctionType(
        code, function.__globals__, code.co_name, function.__defaults__, function.__closure__
    )
    copied.__kwdefaults__ = function.__kwdefaults__
    return copied
