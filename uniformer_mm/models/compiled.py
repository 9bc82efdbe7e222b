"""Compile a backbone block by block."""

from typing import Any

from torch import nn

from uniformer_mm.models.uniformer import UniFormer
from uniformer_mm.torch_internals import raise_recompile_limit

GRAPHS = 32
"""Graphs of one kind of block: in four stages, training and evaluation, of one size and of all."""


def compile_blocks(model: nn.Module, **options: Any) -> None:
    """Let `torch.compile` compile the backbones of a model in place, on their next call.

    Each embedding and block is compiled by itself. Blocks of a stage share one graph, so this takes
    a fraction of the time for the whole backbone.

    Args:
        model: A backbone, or a model that contains one. Its state-dict keys stay as they are.
        **options: Of `torch.compile`, such as ``dynamic=False`` where inputs have one size.
    """
    raise_recompile_limit(GRAPHS)
    for backbone in model.modules():
        if isinstance(backbone, UniFormer):
            backbone.recompute = False  # the compiler decides what the backward pass recomputes
            for stage in backbone.stages:
                for module in (stage.patch_embed, *stage.blocks):
                    module.compile(**options)
