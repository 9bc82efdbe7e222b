"""What the lightweight UniFormer backbones (XXS, XS) do differently."""

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from uniformer_mm.models.archs import (
    LAST_STAGE,
    LIGHT_ARCHS,
    LIGHT_DEFAULTS,
    Settings,
    check_choice,
)
from uniformer_mm.models.layers.checkpoint import run_block
from uniformer_mm.models.uniformer import (
    Attention,
    ConvEmbed,
    GlobalBlock,
    UniFormer,
    init_parameters,
    layer_scale_parameter,
    scale,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

CLASS_NORM_EPS = 1e-5
"""Epsilon of the LayerNorm of the class token: PyTorch's default, also in the official code."""

MIN_SCORE = 1e-18
"""Minimum score of a token. A class token whose attention is all on a few tokens leaves exact zeros
to the others, whose weighted mean would be 0 / 0: the official code gets NaN there."""


class LightOptions(TypedDict, total=False):
    """Options that `UniFormerLight` passes on to `UniFormer`, which documents them."""

    dims: int
    in_channels: int
    head_dim: int | None
    qkv_bias: bool
    drop_rate: float
    attn_drop_rate: float
    drop_path_rate: float
    layer_scale: str | None
    layer_scale_init: float
    output_norm: str | None
    out_indices: int | Sequence[int] | None
    frozen_stages: int
    norm_eval: bool
    with_cp: bool | Sequence[int]
    kernels: bool | None
    init_cfg: dict[str, Any] | list[dict[str, Any]] | None


@MODELS.register_module()
class UniFormerLight(UniFormer):
    """UniFormer XXS and XS: the hourglass of token shrinking and recovering in stages 3 and 4.

    arXiv 2201.09450v4, Section 3.5. A class token accompanies the map from stage 3 on. Its
    attention scores the other tokens in the first block of stage 3; every later block attends with
    the better half of them and one representative of the rest (`HourglassBlock`). Scores are
    average-pooled 2x2 between the stages. State-dict keys and shapes match the official
    checkpoints.

    Args:
        arch: 'xxs', 'xs', or a dict with `depths` and any other key of `LIGHT_DEFAULTS`: the keys
            of `UniFormer`'s archs, `keep_ratio` (share of the tokens kept, below 1) and
            `score_update` (weight of a block's attention in the scores that it hands on).
        fp32_attention: Attend in single precision under autocast, where fp16 would overflow. Most
            published video models need it. Their code switches autocast off there, but leaves
            queries and keys in fp16.
        class_token: Return the class token of the last stage as well, after a LayerNorm, for the
            second classifier that the authors train in addition to the one on the pooled map.
        **options: As in `UniFormer`, except `attention`, `window_size`, `split` and `std`.

    Raises:
        TypeError: There is no such option.
        ValueError: An argument has a value that is not listed here.
    """

    archs = LIGHT_ARCHS
    arch_defaults = LIGHT_DEFAULTS

    def __init__(
        self,
        arch: str | Mapping[str, Any] = "xxs",
        *,
        fp32_attention: bool = False,
        class_token: bool = False,
        **options: "Unpack[LightOptions]",
    ) -> None:
        for name in options:
            if name not in LightOptions.__annotations__:
                raise TypeError(f"UniFormerLight got an unexpected keyword argument {name!r}")
        for name, flag in {"fp32_attention": fp32_attention, "class_token": class_token}.items():
            check_choice(name, flag, (True, False))
        super().__init__(arch, **options)
        self.returns_class_token = class_token
        last = max(self.out_indices)
        if class_token and last < LAST_STAGE:
            raise ValueError(
                f"class_token needs the last stage in out_indices, got {options.get('out_indices')}"
            )
        if last >= 2:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, self.embed_dims[2]))
        if last == LAST_STAGE:
            self.cls_upsample = nn.Linear(*self.embed_dims[2:])
            init_parameters(self.cls_upsample)
        if class_token:
            self.norm_cls = nn.LayerNorm(self.embed_dims[LAST_STAGE], eps=CLASS_NORM_EPS)
        for module in self.modules():
            if isinstance(module, ScoringAttention):
                module.fp32 = fp32_attention
        self._freeze()

    def forward(self, x: Tensor) -> Any:
        """Features of images (B, C, H, W) or clips (B, C, T, H, W), at least 32 x 32 pixels.

        Returns:
            As `UniFormer`, but the convolutional stem rounds sizes up (333 pixels give 84, 42, 21
            and 10 tokens). With `class_token`, a tuple of that and the class token (B, C).

        Raises:
            ValueError: Wrong rank, channels or a size below 32.
        """
        x = self._channels_last(x)
        outputs = {}
        class_token: Any = None
        scores: Any = None
        with self._stored_activations(x):
            for i, stage in enumerate(self.stages):
                grid = x.shape[:-1]
                x = stage.patch_embed(x)
                if i == 0:
                    x = self.pos_drop(x)
                if i == 2:
                    class_token = self.cls_token.expand(x.shape[0], -1, -1)
                elif i == 3:
                    class_token = self.cls_upsample(class_token)
                    rounds_up = isinstance(stage.patch_embed, ConvEmbed)
                    scores = pool_scores(scores.view(grid), rounds_up)
                for j, block in enumerate(stage.blocks):
                    checkpointed = j < self.checkpointed_blocks[i]
                    if i < 2:
                        x = run_block(block, x, checkpointed=checkpointed)
                    else:
                        x, class_token, scores = run_block(
                            block, x, class_token, scores, checkpointed=checkpointed
                        )
                if i in self.out_indices:
                    outputs[i] = self._output(x, stage.norm)
            features = self._select(outputs)
            if self.returns_class_token:
                return features, self.norm_cls(class_token[:, 0])
            return features

    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        """As of `UniFormer`; the class token and its embedding are with those of their stages."""
        for name, stage in (("cls_token", 3), ("cls_upsample", 4)):
            if param_name.startswith(prefix + name):
                param_name = f"{prefix}patch_embed{stage}."
        return super().get_layer_depth(param_name, prefix)

    def _global_block(
        self, stage: int, index: int, settings: Settings, split: bool, options: Any
    ) -> nn.Module:
        return HourglassBlock(
            self.dims,
            self.embed_dims[stage],
            self.head_dim,
            keep_ratio=1.0 if stage == 2 and index == 0 else settings.arch["keep_ratio"],
            score_update=settings.arch["score_update"],
            **options,
        )

    def _freeze(self) -> None:
        super()._freeze()
        for stage, name in ((3, "cls_token"), (4, "cls_upsample"), (4, "norm_cls")):
            if self.frozen_stages >= stage and hasattr(self, name):
                getattr(self, name).requires_grad_(False)


def _signature() -> inspect.Signature:
    """Return the signature with all options written out, for `help` and for tools."""
    own = dict(inspect.signature(UniFormerLight.__init__).parameters)
    own.pop("options")
    inherited = inspect.signature(UniFormer.__init__).parameters
    options = [
        inherited[name].replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name in LightOptions.__annotations__
    ]
    return inspect.Signature([*own.values(), *options])


UniFormerLight.__init__.__signature__ = _signature()  # type: ignore[attr-defined]


class HourglassBlock(GlobalBlock):
    """Global block that attends with the tokens that matter (token shrinking and recovering).

    "UniFormer: Unifying Convolution and Self-attention for Visual Recognition", arXiv 2201.09450v4,
    Section 3.5 (hourglass design), after Evo-ViT (arXiv 2108.01390). A score per token says how
    much the class token attends to it. The best `keep_ratio` of the tokens are kept. One
    representative, the score-weighted mean of the others, stands for these and passes its updates
    on to them, without drop path.

    Args: as for `GlobalBlock`, without windows, and:
        keep_ratio: Share of the tokens that is kept, rounded down; 1 for all of them.
        score_update: Weight of a block's own attention in the scores that it hands on.
    """

    def __init__(
        self,
        dims: int,
        dim: int,
        head_dim: int,
        *,
        keep_ratio: float,
        score_update: float,
        layer_scale: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(dims, dim, head_dim, layer_scale=layer_scale, **options)
        self.keep_ratio = keep_ratio
        self.score_update = score_update
        self.attn = ScoringAttention(
            dim,
            head_dim,
            qkv_bias=options.get("qkv_bias", True),
            attn_drop=options.get("attn_drop", 0.0),
            proj_drop=options.get("drop", 0.0),
        )
        # In the official code, images scale what is passed on, videos pass on what is scaled.
        passes_on = keep_ratio < 1 and dims == 2
        self.gamma_3 = layer_scale_parameter((dim,), layer_scale if passes_on else None)

    def forward(  # type: ignore[override]
        self, x: Tensor, class_token: Tensor, scores: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Update a map, the class token and the scores.

        Args:
            x: Channels-last map of N tokens.
            class_token: (B, 1, C).
            scores: (B, N); None for a block with `keep_ratio` 1, which does not read them.

        Returns:
            The same three.
        """
        return self.attend_kept(x + self.pos_embed(x), class_token, scores)

    def attend_kept(
        self, x: Tensor, class_token: Tensor, scores: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run `forward` after the position embedding."""
        tokens = x.flatten(1, -2)
        if self.keep_ratio == 1:
            sequence, _, scores = self._update(torch.cat([class_token, tokens], dim=1))
            return sequence[:, 1:].reshape(x.shape), sequence[:, :1], scores
        assert scores is not None, "scores come from a block with keep_ratio 1"
        order = scores.argsort(dim=1, descending=True)
        number = torch.sym_int(tokens.shape[1] * self.keep_ratio)
        kept, dropped = order[:, :number], order[:, number:]
        weights = scores.gather(1, dropped).clamp_min(MIN_SCORE)
        weights = (weights / weights.sum(dim=1, keepdim=True)).to(tokens.dtype)
        representative = weights.unsqueeze(1) @ _take(tokens, dropped)
        sequence = torch.cat([class_token, _take(tokens, kept), representative], dim=1)
        sequence, passed_on, class_attention = self._update(sequence)
        tokens = tokens + passed_on
        dtype = torch.promote_types(tokens.dtype, sequence.dtype)  # under autocast they may differ
        places = kept.unsqueeze(-1).expand(-1, -1, tokens.shape[-1])
        tokens = tokens.to(dtype).scatter(1, places, sequence[:, 1:-1].to(dtype))
        old = scores.gather(1, kept)
        new = old + self.score_update * (class_attention[:, :-1] - old)
        return tokens.view(x.shape), sequence[:, :1], scores.scatter(1, kept, new)

    def _update(self, sequence: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run attention and feed-forward network on (B, N, C).

        Returns:
            The sequence, the update that its last token passes on, and the class token's attention
            to the others.
        """
        attended, scores = self.attn(self.norm1(sequence))
        scaled = scale(self.gamma_1, attended)
        sequence = sequence + self.drop_path(scaled)
        fed = self.mlp(self.norm2(sequence))
        scaled_fed = scale(self.gamma_2, fed)
        if self.gamma_3 is None:
            passed_on = scaled[:, -1:] + scaled_fed[:, -1:]
        else:
            passed_on = self.gamma_3 * (attended[:, -1:] + fed[:, -1:])
        return sequence + self.drop_path(scaled_fed), passed_on, scores


class ScoringAttention(Attention):
    """Attention that also scores how much the first token, the class token, attends to the others.

    Args: as for `Attention`, without windows.
    """

    fp32 = False
    """Whether it attends in single precision under autocast."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Tokens (B, N, C) to tokens (B, N, C) and scores (B, N - 1), the mean over the heads."""
        parts = self.split(self.qkv(x))
        if self.fp32:
            with torch.autocast(x.device.type, enabled=False):
                attended, scores = self._attend_and_score(*(part.float() for part in parts))
            attended = attended.to(parts[0].dtype)
        else:
            attended, scores = self._attend_and_score(*parts)
        return self.project(attended.transpose(1, 2).flatten(2)), scores

    def _attend_and_score(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        # The fused kernel does not return its weights. The class token's row of them is computed
        # again in single precision, because products in fp16 may overflow; autocast would cast a
        # matrix product back.
        row = (query[:, :, :1].float() * key.float()).sum(dim=-1) * query.shape[-1] ** -0.5
        scores = row.softmax(dim=-1)[:, :, 1:].mean(dim=1)
        return self.attend(query, key, value), scores


def pool_scores(scores: Tensor, ceil: bool = False) -> Tensor:
    """Average-pool scores of a map 2x2 for the next stage, and restore their sum.

    Args:
        scores: (B, H, W) or (B, T, H, W).
        ceil: Whether the embedding of the next stage rounds an odd size up ('conv'): its last
            tokens get the mean of what is left. Otherwise the last row or column is left out.

    Returns:
        (B, N) for the N tokens of the next stage.
    """
    pooled = F.avg_pool2d(scores, 2, ceil_mode=ceil).flatten(1)
    total = pooled.sum(1, keepdim=True).clamp_min(MIN_SCORE)
    return pooled * (scores.flatten(1).sum(1, keepdim=True) / total)


def _take(tokens: Tensor, indices: Tensor) -> Tensor:
    """Take tokens (B, N, C) at indices (B, M): (B, M, C)."""
    return tokens.gather(1, indices.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))
