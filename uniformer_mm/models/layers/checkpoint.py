"""Activation checkpointing of blocks."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def run_block(block: nn.Module, *inputs: Tensor | None, checkpointed: bool) -> Any:
    """Run a block. If it is checkpointed, the backward pass runs it again for its activations."""
    if not (checkpointed and torch.is_grad_enabled()):
        return block(*inputs)
    if torch.compiler.is_compiling():  # recomputes values only
        return checkpoint(block, *inputs, use_reentrant=False)
    return checkpoint(
        block,
        *inputs,
        use_reentrant=False,
        context_fn=lambda: (contextlib.nullcontext(), _keep_running_statistics(block)),
    )


@contextlib.contextmanager
def _keep_running_statistics(block: nn.Module) -> Iterator[None]:
    """Do not let the second forward pass update the running statistics of BatchNorm again."""
    norms = [
        m for m in block.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training
    ]
    before = [(norm.momentum, norm.get_buffer("num_batches_tracked").clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0  # what is saved for the gradient stays the same
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.get_buffer("num_batches_tracked").copy_(count)
