"""Variants: different ways to run the same backbone."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from torch import Tensor, nn

from uniformer_mm.errors import UserError
from uniformer_mm.models.compiled import compile_blocks
from uniformer_mm.models.fuse import fuse
from uniformer_mm.models.layers.depthwise import use_kernels
from uniformer_mm.models.uniformer import Attention

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

PARTS = {
    "eager": "nothing else",
    "plain": "attention in tensor operations, as the papers write it",
    "keeping": "stores for the backward pass what is otherwise recomputed",
    "fused": "BatchNorm, layer scale and residual connections folded into the weights",
    "kernels": "Triton kernels on GPUs also where they are off by default",
    "cudnn": "no Triton kernels of this package",
    "cast": "parameters and input in the type of --dtype, instead of autocast",
    "compiled": "torch.compile of the backbone",
    "blocks": "torch.compile of each block for one input size",
    "graph": "a CUDA graph of the whole step",
}
"""Parts of the name of a variant, such as 'fused-cast-kernels'."""


def build_backbone(settings: Mapping[str, Any], device: torch.device) -> nn.Module:
    """A backbone with random weights.

    Args:
        settings: Its options; keys such as 'arch.depths' are paths.
        device: Where its parameters are.

    Raises:
        UserError: The options are invalid.
    """
    import uniformer_mm.models  # noqa: F401

    cfg = Config({"type": "UniFormer"})
    cfg.merge_from_dict(dict(settings))
    settings = {**cfg.to_dict(), "init_cfg": None}
    # mmaction2 registers its own UniFormer, which a default scope would select.
    settings["type"] = f"mmengine.{settings['type'].removeprefix('mmengine.')}"
    torch.manual_seed(0)
    try:
        return MODELS.build(settings).to(device)
    except (TypeError, ValueError, KeyError) as error:
        raise UserError(f"cannot build a backbone with {settings}: {error}") from error


def make_variant(name: str, model: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    """A copy of a model that runs as a variant.

    Args:
        name: `PARTS` joined by hyphens.
        model: A backbone.
        dtype: Type for 'cast'.

    Raises:
        UserError: There is no such variant, or it does not fit the model's mode.
    """
    parts = name.split("-")
    for part in parts:
        if part not in PARTS:
            raise UserError(f"--variants: {part!r} is not one of {', '.join(PARTS)}")
    if model.training and {"fused", "cast"} & set(parts):
        raise UserError(f"--variants {name} is for inference: leave out --step train")
    model = fuse(model) if "fused" in parts else copy.deepcopy(model)
    if "plain" in parts:
        for module in model.modules():
            if isinstance(module, Attention):
                module.fused = False
    if {"kernels", "cudnn"} & set(parts):
        use_kernels(model, "kernels" in parts)
    if "keeping" in parts:
        model.recompute = False  # type: ignore[assignment]
    if "cast" in parts:
        model = model.to(dtype)
    if "blocks" in parts:
        compile_blocks(model, dynamic=False)
    return torch.compile(model) if "compiled" in parts else model  # type: ignore[return-value]


def make_step(
    model: nn.Module, x: Tensor, step: str, dtype: torch.dtype, *, graph: bool = False
) -> Callable[[], Any]:
    """A function that runs a model once.

    Args:
        model: A backbone.
        x: Its input.
        step: 'forward' without gradients, or 'train': forward, backward and an AdamW step.
        dtype: Below single precision the model runs under autocast, unless its parameters are not
            in single precision.
        graph: Record the step as a CUDA graph and replay it.
    """
    own = next(model.parameters()).dtype
    x = x.to(own)
    autocast = torch.autocast(
        x.device.type, dtype, enabled=dtype != torch.float32 and own == torch.float32
    )
    if step == "forward":

        def forward() -> Any:
            with torch.no_grad(), autocast:
                return model(x)

        return RecordedStep(forward) if graph else forward
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, fused=True, capturable=graph)

    def train() -> None:
        with autocast:
            outputs = model(x)
            outputs = [outputs] if isinstance(outputs, Tensor) else outputs
            loss = torch.stack([output.float().square().mean() for output in outputs]).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return RecordedStep(train) if graph else train


class RecordedStep:
    """A function whose GPU work is recorded as a CUDA graph and replayed by calls.

    Attributes:
        peak_bytes: Memory that the graph holds.
    """

    def __init__(self, function: Callable[[], Any], warmup: int = 3) -> None:
        if not torch.cuda.is_available():
            raise UserError("--variants: 'graph' needs a GPU")
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(warmup):
                function()
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.empty_cache()
        before = torch.cuda.memory_reserved()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = function()
        self.peak_bytes = torch.cuda.memory_reserved() - before

    def __call__(self) -> Any:
        """Replay, and return what the function returned when it was recorded."""
        self._graph.replay()
        return self._outputs
