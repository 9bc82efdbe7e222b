"""Variants: different ways to run the same backbone."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from uniformer_mm.errors import UserError
from uniformer_mm.models.fuse import fuse
from uniformer_mm.models.layers.depthwise import use_kernels
from uniformer_mm.models.uniformer import Attention

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

VARIANTS = (
    "eager",
    "plain",
    "keeping",
    "kernels",
    "fused",
    "fused-kernels",
    "compiled",
    "compiled-kernels",
    "fused-compiled",
    "fused-compiled-kernels",
)
"""'plain' computes attention in tensor operations, as the papers write it; 'keeping' stores for the
backward pass what 'eager' recomputes; 'kernels' runs depthwise convolutions on GPUs by Triton
kernels."""


class Keeping(nn.Module):
    """A model that recomputes nothing in the backward pass: outer hooks disable it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Any:
        """Outputs of the model."""
        with saved_tensors_hooks(lambda kept: kept, lambda kept: kept):
            return self.model(x)


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


def make_variant(name: str, model: nn.Module) -> nn.Module:
    """A copy of a model that runs as one of `VARIANTS`.

    Raises:
        UserError: There is no such variant, or it does not fit the model's mode.
    """
    if name not in VARIANTS:
        raise UserError(f"--variants: {name!r} is not one of {', '.join(VARIANTS)}")
    if "fused" in name and model.training:
        raise UserError(f"--variants {name} is for inference: leave out --step train")
    model = fuse(model) if "fused" in name else copy.deepcopy(model)
    if name == "plain":
        for module in model.modules():
            if isinstance(module, Attention):
                module.fused = False
    if "kernels" in name:
        use_kernels(model, True)
    if name == "keeping":
        return Keeping(model)
    return torch.compile(model) if "compiled" in name else model  # type: ignore[return-value]


def make_step(model: nn.Module, x: Tensor, step: str, dtype: torch.dtype) -> Callable[[], Any]:
    """A function that runs a model once.

    Args:
        model: A backbone.
        x: Its input.
        step: 'forward' without gradients, or 'train': forward, backward and an AdamW step.
        dtype: Below single precision the model runs under autocast.
    """
    autocast = torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32)
    if step == "forward":

        def forward() -> Any:
            with torch.no_grad(), autocast:
                return model(x)

        return forward
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, fused=True)

    def train() -> None:
        with autocast:
            outputs = model(x)
            outputs = [outputs] if isinstance(outputs, Tensor) else outputs
            loss = torch.stack([output.float().square().mean() for output in outputs]).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return train
