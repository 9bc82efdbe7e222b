"""The light UniFormer backbones (XXS, XS), for images and videos."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from uniformer_mm.models.archs import check_choice
from uniformer_mm.models.blocks import (
    CLASS_NORM_EPS,
    SMALLEST_SCORE,
    ConvEmbed,
    HourglassBlock,
)
from uniformer_mm.models.uniformer import ARCH_DEFAULTS, UniFormer, init_parameters, resolve_arch

LIGHT_ARCHS: dict[str, dict[str, Any]] = {
    "xxs": {"depths": (2, 5, 8, 2), "embed_dims": (56, 112, 224, 448), "head_dim": 28},
    "xs": {"depths": (3, 5, 9, 3), "embed_dims": (64, 128, 256, 512), "head_dim": 32},
}
"""Presets of arXiv 2201.09450v4, Section 3.5; what one leaves out is in `LIGHT_DEFAULTS`."""

LIGHT_DEFAULTS: dict[str, Any] = {
    **ARCH_DEFAULTS,
    "mlp_ratio": 3.0,
    "stem": "conv",
    "keep_ratio": 0.5,
    "score_update": 0.5,
}


@MODELS.register_module()
class UniFormerLight(UniFormer):
    """UniFormer XXS and XS: the hourglass of token shrinking and recovering in stages 3 and 4.

    arXiv 2201.09450v4, Section 3.5. A class token runs beside the map from stage 3 on. Its
    attention scores the other tokens in the first block of stage 3; every later block attends with
    the better half of them and one representative of the rest (`HourglassBlock`). Scores are
    average-pooled 2x2 between the stages. They live in the forward pass: nothing of it is kept in
    the module. Tensor names and shapes are those of the official checkpoints.

    Args:
        arch: 'xxs', 'xs', or a dict of `depths` and whatever differs from `LIGHT_DEFAULTS`:
            the keys of `UniFormer`'s archs, `keep_ratio` (share of the tokens kept, below 1) and
            `score_update` (weight of a block's attention in the scores it hands on).
        dims: 2 for images, 3 for videos.
        in_channels: Channels of the input.
        head_dim: Channels of an attention head, if not the arch's.
        qkv_bias: Whether query, key and value have a bias.
        drop_rate: Dropout probability after the stem and in projections.
        attn_drop_rate: Dropout probability of attention weights.
        drop_path_rate: Stochastic depth of the last block; it rises linearly from 0 at the first.
        layer_scale: 'none', 'global' or 'all', if not the arch's.
        layer_scale_init: Initial value of the layer scale.
        fp32_attention: Attend in single precision under autocast, where fp16 would overflow. Most
            published video models ask for it; their code switches autocast off there, but leaves
            queries and keys in fp16.
        class_token: Return the class token of the last stage as well, after a LayerNorm, for the
            second classifier that the authors train beside the one on the pooled map.
        output_norm: As in `UniFormer`.
        out_indices: As in `UniFormer`.
        frozen_stages: As in `UniFormer`.
        norm_eval: As in `UniFormer`.
        with_cp: As in `UniFormer`.
        kernels: As in `UniFormer`.
        init_cfg: As in `UniFormer`.

    Raises:
        ValueError: An argument has a value outside of what is listed here.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any] = "xxs",
        dims: int = 2,
        in_channels: int = 3,
        head_dim: int | None = None,
        qkv_bias: bool = True,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        layer_scale: str | None = None,
        layer_scale_init: float = 1e-6,
        fp32_attention: bool = False,
        class_token: bool = False,
        output_norm: str | None = None,
        out_indices: int | Sequence[int] | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool | Sequence[int] = False,
        kernels: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            arch=arch,
            dims=dims,
            in_channels=in_channels,
            head_dim=head_dim,
            qkv_bias=qkv_bias,
            drop_rate=drop_rate,
            attn_drop_rate=attn_drop_rate,
            drop_path_rate=drop_path_rate,
            layer_scale=layer_scale,
            layer_scale_init=layer_scale_init,
            output_norm=output_norm,
            out_indices=out_indices,
            frozen_stages=frozen_stages,
            norm_eval=norm_eval,
            with_cp=with_cp,
            kernels=kernels,
            init_cfg=init_cfg,
        )
        for name, flag in {"fp32_attention": fp32_attention, "class_token": class_token}.items():
            check_choice(name, flag, (True, False))
        self.returns_class_token = class_token
        last = max(self.out_indices)
        if class_token and last < 3:
            raise ValueError(f"class_token needs the last stage in out_indices, got {out_indices}")
        if last >= 2:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, self.embed_dims[2]))
        if last == 3:
            self.cls_upsample = nn.Linear(*self.embed_dims[2:])
            init_parameters(self.cls_upsample)
        if class_token:
            self.norm_cls = nn.LayerNorm(self.embed_dims[3], eps=CLASS_NORM_EPS)
        for module in self.modules():
            if isinstance(module, HourglassBlock):
                module.attn.fp32 = fp32_attention  # type: ignore[assignment]
        self._freeze()

    def forward(self, x: Tensor) -> Any:
        """Features of images (B, C, H, W) or clips (B, C, T, H, W), at least 32 x 32 pixels.

        Returns:
            What `UniFormer` returns, where the convolutional stem rounds sizes up (333 pixels give
            84, 42, 21 and 10 tokens); with `class_token`, a tuple of that and the class token
            (B, C).

        Raises:
            ValueError: Wrong rank, channels or a size below 32.
        """
        features, carried = self._features(x)
        return (features, self.norm_cls(carried[0][:, 0])) if self.returns_class_token else features

    def _stage(self, stage: int, x: Tensor, *carried: Tensor) -> tuple[Tensor, ...]:
        if stage < 2:
            return super()._stage(stage, x)
        class_token: Tensor
        scores: Tensor | None
        if stage == 2:
            class_token, scores = self.cls_token.expand(x.shape[0], -1, -1), None
        else:
            class_token = self.cls_upsample(carried[0])
            scores = pooled_scores(carried[1], isinstance(self.patch_embed4, ConvEmbed))
        for index, block in enumerate(getattr(self, f"blocks{stage + 1}")):
            x, class_token, scores = self._run(stage, index, block, x, class_token, scores)
        assert scores is not None
        return x, class_token, scores.view(x.shape[:-1])

    def _global_block(
        self, settings: dict[str, Any], stage: int, index: int, options: dict[str, Any]
    ) -> nn.Module:
        first = stage == 2 and index == 0
        return HourglassBlock(
            self.dims,
            settings["embed_dims"][stage],
            settings["head_dim"],
            keep_ratio=1.0 if first else settings["keep_ratio"],
            score_update=settings["score_update"],
            **options,
        )

    def _resolve_arch(self, arch: str | Mapping[str, Any]) -> dict[str, Any]:
        settings = resolve_arch(arch, LIGHT_ARCHS, LIGHT_DEFAULTS)
        if not 0.0 < settings["keep_ratio"] < 1.0:
            raise ValueError(f"keep_ratio must be between 0 and 1, got {settings['keep_ratio']}")
        return settings

    def _freeze(self) -> None:
        super()._freeze()
        for stage, name in ((3, "cls_token"), (4, "cls_upsample"), (4, "norm_cls")):
            if self.frozen_stages >= stage and hasattr(self, name):
                getattr(self, name).requires_grad_(False)


def pooled_scores(scores: Tensor, ceil: bool = False) -> Tensor:
    """Scores of the next stage's tokens from those of a map, (B, H, W) or (B, T, H, W).

    The mean of 2 x 2 tokens, rescaled so that the sum stays what it was.

    Args:
        scores: Of the tokens of a stage.
        ceil: Whether the embedding of the next stage rounds an odd size up ('conv'): its last
            tokens get the mean of what is left. Otherwise what is left gets none.

    Returns:
        (B, N) for the N tokens of the next stage.
    """
    pooled = F.avg_pool2d(scores, 2, ceil_mode=ceil).flatten(1)
    total = pooled.sum(1, keepdim=True).clamp_min(SMALLEST_SCORE)
    return pooled * (scores.flatten(1).sum(1, keepdim=True) / total)
