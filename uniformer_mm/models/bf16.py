"""Inference in bfloat16: weights are cast once, and heads return fp32.

Boxes, masks and scores are computed from the outputs of heads in fp32, as without bfloat16.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from uniformer_mm.models.fuse import fuse
from uniformer_mm.models.layers.chunked_attention import attend_in_chunks
from uniformer_mm.models.uniformer import Attention, UniFormer
from uniformer_mm.torch_internals import has_amx

HEADS = ("neck", "rpn_head", "roi_head.bbox_head", "roi_head.mask_head", "decode_head", "head")
"""Parts of models after the backbone that map features to features or scores."""

PLAIN_LAYERS = (
    *(nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d),
    *(nn.modules.batchnorm._BatchNorm, nn.GroupNorm),
)
"""Layers of a head that may run in bfloat16. A head with other parameters stays in fp32: those of
transformers and keypoints have coordinates among their inputs."""


def to_bf16(model: nn.Module) -> nn.Module:
    """Return a fused copy of a model that runs in bfloat16. The model itself stays as it is.

    Backbones, necks and plain heads take and return fp32 and compute in bfloat16. The statistics
    of BatchNorm stay in fp32.

    Args:
        model: A backbone, or a model that contains one, such as a detector.

    Returns:
        The copy, in evaluation mode and without gradients.

    Raises:
        ValueError: The model contains no UniFormer, or it has been fused already.
    """
    copied = fuse(model)
    for part in list(_parts(copied)):
        _cast(part)
    for module in copied.modules():
        # With AMX, PyTorch's own attention multiplies tiles of bfloat16.
        if isinstance(module, Attention) and not has_amx():
            module.attend = attend_in_chunks  # type: ignore[method-assign]
    return copied


class _ComputesInBFloat16:
    """Mixed into the class of a module: fp32 in and out, and no autocast inside."""

    def forward(self, *inputs: Any) -> Any:
        device = next(self.parameters()).device.type  # type: ignore[attr-defined]
        with torch.autocast(device, enabled=False):
            half = tree_map(_half, inputs)
            return tree_map(_single, super().forward(*half))  # type: ignore[misc]


def _parts(model: nn.Module) -> Iterator[nn.Module]:
    """Find the backbones of a model, and the plain heads after them."""
    for module in model.modules():
        if isinstance(module, UniFormer):
            yield module
        if not isinstance(getattr(module, "backbone", None), UniFormer):
            continue
        for name in HEADS:
            head: Any = module
            for attribute in name.split("."):
                head = getattr(head, attribute, None)
            # Cascades have a list of heads.
            for part in head if isinstance(head, nn.ModuleList) else [head]:
                if isinstance(part, nn.Module) and _is_plain(part):
                    yield part


def _is_plain(head: nn.Module) -> bool:
    layers = [m for m in head.modules() if next(m.parameters(recurse=False), None) is not None]
    return bool(layers) and all(isinstance(layer, PLAIN_LAYERS) for layer in layers)


def _cast(part: nn.Module) -> None:
    for module in part.modules():
        if not isinstance(module, nn.modules.batchnorm._BatchNorm):
            for parameter in module.parameters(recurse=False):
                parameter.data = _half(parameter.data)
    # A class instead of a hook: some heads call their forward() themselves. Copies keep it.
    kind = type(part)
    part.__class__ = type(kind.__name__, (_ComputesInBFloat16, kind), {})


def _half(value: Any) -> Any:
    is_float = isinstance(value, Tensor) and value.is_floating_point()
    return value.to(torch.bfloat16) if is_float else value


def _single(value: Any) -> Any:
    is_half = isinstance(value, Tensor) and value.dtype == torch.bfloat16
    return value.float() if is_half else value
