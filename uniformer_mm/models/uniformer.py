"""The UniFormer backbone, for images and videos."""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule, PretrainedInit, initialize
from mmengine.registry import MODELS, WEIGHT_INITIALIZERS
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from uniformer_mm.models.archs import (
    are_whole,
    check_choice,
    check_number,
    check_whole,
    is_whole,
)
from uniformer_mm.models.attention import window_sizes
from uniformer_mm.models.blocks import (
    BLOCK_NORM_EPS,
    ConvEmbed,
    DividedGlobalBlock,
    GlobalBlock,
    LocalBlock,
    PatchEmbed,
)
from uniformer_mm.models.layers.depthwise import BATCH_NORMS, use_kernels

ARCHS: dict[str, dict[str, Any]] = {
    "small": {"depths": (3, 4, 8, 3)},
    "small_plus": {"depths": (3, 5, 9, 3), "head_dim": 32, "stem": "conv", "downsample": "conv"},
    "base": {"depths": (5, 8, 20, 7)},
    "large": {
        "depths": (5, 10, 24, 7),
        "embed_dims": (128, 192, 448, 640),
        "layer_scale": "all",
    },
}
"""Presets of the papers (arXiv 2201.09450, Table 1 and Section 4.1); what one leaves out is in
`ARCH_DEFAULTS`."""

ARCH_DEFAULTS: dict[str, Any] = {
    "depths": None,
    "embed_dims": (64, 128, 320, 512),
    "head_dim": 64,
    "mlp_ratio": 4.0,
    "stem": "patch",
    "downsample": "patch",
    "layer_scale": "none",
}
"""What an arch may say, and what holds when it does not. `depths` has to be given."""

EMBEDDINGS = ("patch", "conv")
LAYER_SCALES = ("none", "global", "all")
OUTPUT_NORMS = ("layer", "batch")
NUM_STAGES = 4
PRETRAINED = ("Pretrained", PretrainedInit)
"""Types of `init_cfg` that load a checkpoint."""

MIN_SIZE = 32
"""Smallest height and width in pixels: one token is left in the last stage."""


@MODELS.register_module()
class UniFormer(BaseModule):
    """UniFormer: local relation aggregation in stages 1 and 2, global in stages 3 and 4.

    "UniFormer: Unifying Convolution and Self-attention for Visual Recognition", arXiv 2201.09450
    (images, dense prediction), and "UniFormer: Unified Transformer for Efficient Spatiotemporal
    Representation Learning", arXiv 2201.04676 (videos). Registered in mmengine's root registry:
    from the scope of any codebase it is ``type='mmengine.UniFormer'``.

    Tensor names and shapes are those of the official checkpoints.

    Args:
        arch: A name from `ARCHS`, or a dict of `depths` and whatever differs from
            `ARCH_DEFAULTS`: `depths`, `embed_dims` (one per stage), `head_dim`, `mlp_ratio`,
            `stem` ('patch': unpadded strided convolution and LayerNorm; 'conv': overlapping
            3x3 convolutions and BatchNorm), `downsample` (the same choice for stages 2 to 4),
            `layer_scale` ('none', 'global': blocks of stages 3 and 4, 'all').
        dims: 2 for images, 3 for videos.
        in_channels: Channels of the input.
        attention: 'global'; 'window' for windows in every block of stage 3; 'hybrid' for windows
            in stage 3 except in every fourth block. Stage 4 is always global. All three have
            the same parameters. Videos have 'global' only.
        window_size: Side of the attention windows in tokens of stage 3 (16 pixels each).
        head_dim: Channels of an attention head, if not the arch's. It changes the result but no
            shape, so it has to be the one a checkpoint was trained with.
        qkv_bias: Whether query, key and value have a bias.
        drop_rate: Dropout probability after the stem and in projections.
        attn_drop_rate: Dropout probability of attention weights.
        drop_path_rate: Stochastic depth of the last block; it rises linearly from 0 at the first.
        layer_scale: 'none', 'global' or 'all', if not the arch's.
        layer_scale_init: Initial value of the layer scale.
        split: Divide the attention of a video into a temporal and a spatial step.
        std: Let the embeddings of stages 2 to 4 of a video see three frames instead of one.
        output_norm: 'layer' for a LayerNorm at each output (dense prediction, pose), 'batch' for
            one BatchNorm after the last stage (classification, videos). Default: 'layer' for
            images, 'batch' for videos.
        out_indices: Stages to return, from 0. An int gives a tensor, a sequence a tuple.
            Default: all four with LayerNorm, an int for the last one with BatchNorm. Stages
            behind the last one returned are not built.
        frozen_stages: -1 freezes nothing, 0 the first patch embedding, k stages 1 to k with their
            embeddings and output norms: no gradient, and evaluation mode.
        norm_eval: Keep every BatchNorm in evaluation mode while training.
        with_cp: Activation checkpointing: True for every block, or the number of blocks (the
            first ones) of each stage. Slower, less memory, the same result.
        kernels: Run depthwise convolutions on GPUs by this package's Triton kernels instead of
            PyTorch's (docs/performance.md). No difference on CPUs.
        init_cfg: ``dict(type='Pretrained', checkpoint=PATH_OR_URL)`` loads ImageNet or other
            UniFormer weights and raises if they do not fit; otherwise as in mmengine.

    Raises:
        ValueError: An argument has a value outside of what is listed here.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any] = "small",
        dims: int = 2,
        in_channels: int = 3,
        attention: str = "global",
        window_size: int = 14,
        head_dim: int | None = None,
        qkv_bias: bool = True,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        layer_scale: str | None = None,
        layer_scale_init: float = 1e-6,
        split: bool = False,
        std: bool = False,
        output_norm: str | None = None,
        out_indices: int | Sequence[int] | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool | Sequence[int] = False,
        kernels: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        settings = self._resolve_arch(arch)
        if head_dim is not None:
            settings["head_dim"] = head_dim
        if layer_scale is not None:
            settings["layer_scale"] = layer_scale
        check_choice("dims", dims, (2, 3))
        check_choice("stem", settings["stem"], EMBEDDINGS)
        check_choice("downsample", settings["downsample"], EMBEDDINGS)
        check_choice("layer_scale", settings["layer_scale"], LAYER_SCALES)
        if output_norm is None:
            output_norm = "layer" if dims == 2 else "batch"
        check_choice("output_norm", output_norm, OUTPUT_NORMS)
        flags = {"qkv_bias": qkv_bias, "split": split, "std": std, "norm_eval": norm_eval}
        flags["kernels"] = kernels
        for name, flag in flags.items():
            check_choice(name, flag, (True, False))
        rates = {"drop_rate": drop_rate, "attn_drop_rate": attn_drop_rate}
        for name, rate in {**rates, "drop_path_rate": drop_path_rate}.items():
            check_number(name, rate, below=1)
        check_number("layer_scale_init", layer_scale_init)
        for cfg in init_cfg if isinstance(init_cfg, list) else [init_cfg] if init_cfg else []:
            _check_init_cfg(cfg)
        check_whole("in_channels", in_channels, 1)
        check_whole("head_dim", settings["head_dim"], 1)
        check_whole("frozen_stages", frozen_stages, -1, NUM_STAGES)
        if dims == 3 and attention != "global":
            raise ValueError(f"attention must be 'global' for dims=3, got {attention!r}")
        if dims == 2 and (split or std):
            raise ValueError("split and std are options of videos: they need dims=3")
        if std and settings["downsample"] != "patch":
            raise ValueError("std is about embeddings of kind 'patch', got downsample='conv'")
        depths, widths = settings["depths"], settings["embed_dims"]
        if any(dim % settings["head_dim"] for dim in widths[2:]):
            raise ValueError(
                f"head_dim must divide the embed_dims of stages 3 and 4, {widths[2:]},"
                f" got {settings['head_dim']}"
            )
        self.dims = dims
        self.in_channels = in_channels
        self.embed_dims = widths
        self.head_dim = settings["head_dim"]
        self.output_norm = output_norm
        self.returns_tuple, self.out_indices = _resolve_out_indices(out_indices, output_norm)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.checkpointed_blocks = _resolve_checkpointing(with_cp, depths)

        last_block = max(sum(depths) - 1, 1)
        drop_paths = (drop_path_rate * block / last_block for block in range(sum(depths)))
        windows = window_sizes(attention, window_size, depths[2])
        shared: dict[str, Any] = {"mlp_ratio": settings["mlp_ratio"], "drop": drop_rate}
        scales = settings["layer_scale"]
        local = {**shared, "layer_scale": layer_scale_init if scales == "all" else None}
        global_ = {
            **shared,
            "layer_scale": None if scales == "none" else layer_scale_init,
            "qkv_bias": qkv_bias,
            "attn_drop": attn_drop_rate,
        }
        # Stages behind the last output would never get a gradient: they are not built.
        for i, (depth, dim) in enumerate(zip(depths, widths, strict=True)):
            if i > max(self.out_indices):
                break
            source = widths[i - 1] if i else in_channels
            self.add_module(f"patch_embed{i + 1}", _embedding(settings, dims, i, source, dim, std))
            blocks = nn.ModuleList()
            for j in range(depth):
                drop_path = next(drop_paths)
                if i < 2:
                    blocks.append(LocalBlock(dims, dim, drop_path=drop_path, **local))
                elif split:
                    blocks.append(
                        DividedGlobalBlock(
                            dim, settings["head_dim"], drop_path=drop_path, **global_
                        )
                    )
                else:
                    window = windows[j] if i == 2 else 0
                    options = {**global_, "drop_path": drop_path, "window_size": window}
                    blocks.append(self._global_block(settings, i, j, options))
            self.add_module(f"blocks{i + 1}", blocks)
            if output_norm == "layer" and i in self.out_indices:
                self.add_module(f"norm{i + 1}", nn.LayerNorm(dim, eps=BLOCK_NORM_EPS))
        if output_norm == "batch":
            self.norm = BATCH_NORMS[dims](widths[-1])
        self.pos_drop = nn.Dropout(drop_rate) if drop_rate else nn.Identity()
        self.apply(init_parameters)
        use_kernels(self, kernels)
        self._freeze()

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Features of images (B, C, H, W) or clips (B, C, T, H, W), at least 32 x 32 pixels.

        Returns:
            One channels-first map per entry of `out_indices`: stage i (from 0) has
            `embed_dims[i]` channels and 1 / (4 * 2**i) of the height and width, rounded down;
            clips have half the frames, rounded up.

        Raises:
            ValueError: Wrong rank, channels or a size below 32.
        """
        return self._features(x)[0]

    def _features(self, x: Tensor) -> tuple[Tensor | tuple[Tensor, ...], list[Tensor]]:
        """What `forward` returns, and what the last stage carries on."""
        self._check_input(x)
        memory = torch.channels_last if self.dims == 2 else torch.channels_last_3d
        x = x.contiguous(memory_format=memory).movedim(1, -1)
        outputs = {}
        carried: list[Tensor] = []
        for i in range(max(self.out_indices) + 1):
            x = getattr(self, f"patch_embed{i + 1}")(x)
            if i == 0:
                x = self.pos_drop(x)
            x, *carried = self._stage(i, x, *carried)
            if i in self.out_indices:
                outputs[i] = self._output(x, i)
        features = tuple(outputs[i] for i in self.out_indices)
        return features if self.returns_tuple else features[0], carried

    def _resolve_arch(self, arch: str | Mapping[str, Any]) -> dict[str, Any]:
        return resolve_arch(arch)

    def train(self, mode: bool = True) -> "UniFormer":
        """Set the mode, except for frozen stages and (with `norm_eval`) for BatchNorm."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def init_weights(self) -> None:
        """Initialise from `init_cfg`.

        Raises:
            CheckpointError: `init_cfg` names a pretrained checkpoint that cannot be read or does
                not fit this architecture.
        """
        from uniformer_mm.checkpoints import load_pretrained

        configs = self.init_cfg if isinstance(self.init_cfg, list) else [self.init_cfg or {}]
        pretrained = [cfg for cfg in configs if cfg.get("type") in PRETRAINED]
        if not pretrained:
            super().init_weights()
            return
        initialize(self, [cfg for cfg in configs if cfg not in pretrained])
        for cfg in pretrained:
            load_pretrained(self, **{key: value for key, value in cfg.items() if key != "type"})
        self._is_init = True

    def _global_block(
        self, settings: dict[str, Any], stage: int, index: int, options: dict[str, Any]
    ) -> nn.Module:
        """A block of stage 2 or 3, counted from 0."""
        dim, head_dim = settings["embed_dims"][stage], settings["head_dim"]
        return GlobalBlock(self.dims, dim, head_dim, **options)

    def _stage(self, stage: int, x: Tensor, *carried: Tensor) -> tuple[Tensor, ...]:
        """Run the blocks of a stage.

        Args:
            stage: Counted from 0.
            x: Channels-last map.
            carried: What passes from stage to stage beside the map; nothing here.

        Returns:
            The map, and what is carried on.
        """
        for index, block in enumerate(getattr(self, f"blocks{stage + 1}")):
            x = self._run(stage, index, block, x)
        return x, *carried

    def _run(self, stage: int, index: int, block: nn.Module, *inputs: Tensor | None) -> Any:
        """Run a block, with checkpointing if it is one of those."""
        if index < self.checkpointed_blocks[stage] and torch.is_grad_enabled():
            return _checkpointed(block, *inputs)
        return block(*inputs)

    def _output(self, x: Tensor, stage: int) -> Tensor:
        if self.output_norm == "layer":
            x = getattr(self, f"norm{stage + 1}")(x).movedim(-1, 1)
        else:
            x = self.norm(x.movedim(-1, 1))
        # mmcv's compiled RoIAlign reads its input as packed channels-first without checking.
        return x.contiguous()

    def _check_input(self, x: Tensor) -> None:
        layout = "(B, C, H, W)" if self.dims == 2 else "(B, C, T, H, W)"
        if x.dim() != self.dims + 2:
            raise ValueError(
                f"UniFormer(dims={self.dims}) takes {layout}, got shape {tuple(x.shape)}"
            )
        if x.shape[1] != self.in_channels:
            raise ValueError(
                f"UniFormer(in_channels={self.in_channels}) got {x.shape[1]} channels"
                f" in an input {layout} of shape {tuple(x.shape)}"
            )
        if x.shape[-2] < MIN_SIZE or x.shape[-1] < MIN_SIZE:
            raise ValueError(
                f"UniFormer takes at least {MIN_SIZE} x {MIN_SIZE} pixels,"
                f" got height {x.shape[-2]} and width {x.shape[-1]}: pad or enlarge the input"
            )

    def _freeze(self) -> None:
        frozen = [self.patch_embed1] if self.frozen_stages >= 0 else []
        for i in range(1, self.frozen_stages + 1):
            names = (f"patch_embed{i}", f"blocks{i}", f"norm{i}")
            frozen += [getattr(self, name) for name in names if hasattr(self, name)]
        if self.frozen_stages == NUM_STAGES and self.output_norm == "batch":
            frozen.append(self.norm)
        for module in frozen:
            module.eval()
            module.requires_grad_(False)


def resolve_arch(
    arch: str | Mapping[str, Any],
    archs: Mapping[str, Mapping[str, Any]] = ARCHS,
    defaults: Mapping[str, Any] = ARCH_DEFAULTS,
) -> dict[str, Any]:
    """All settings of an arch, given by name or as a dict.

    Raises:
        ValueError: An unknown name or key, sequences that are not one entry per stage, or something
            that is no number where one is needed.
    """
    if isinstance(arch, str) and arch in archs:
        arch = archs[arch]
    if not isinstance(arch, Mapping):
        raise ValueError(f"arch must be one of {tuple(archs)} or a dict, got {arch!r}")
    unknown = [key for key in arch if key not in defaults]
    if unknown:
        raise ValueError(f"unknown keys {unknown} in arch; it may have {tuple(defaults)}")
    settings = {**defaults, **arch}
    for key in ("depths", "embed_dims"):
        value = settings[key]
        if not are_whole(value, NUM_STAGES, least=1):
            raise ValueError(
                f"arch needs {NUM_STAGES} {key}, one per stage, got {value!r}: each is a whole"
                " number above 0"
            )
        settings[key] = tuple(value)
    for key, default in defaults.items():
        if isinstance(default, float):
            check_number(key, settings[key])
    if int(min(settings["embed_dims"]) * settings["mlp_ratio"]) < 1:
        raise ValueError(f"mlp_ratio leaves no hidden channels: {settings['mlp_ratio']}")
    return settings


def _embedding(
    settings: dict[str, Any], dims: int, stage: int, source: int, dim: int, std: bool
) -> nn.Module:
    """The embedding in front of a stage, which makes the map smaller: by 4 first, then by 2."""
    if stage == 0 and settings["stem"] == "conv":
        strides: list[int | tuple[int, ...]] = [2, 2] if dims == 2 else [(1, 2, 2), (2, 2, 2)]
        return ConvEmbed(dims, source, dim, strides)
    if stage == 0:
        return PatchEmbed(dims, source, dim, 4, kernel_time=3, stride_time=2)
    if settings["downsample"] == "conv":
        return ConvEmbed(dims, source, dim, [2] if dims == 2 else [(1, 2, 2)])
    return PatchEmbed(dims, source, dim, 2, kernel_time=3 if std else 1)


def _resolve_out_indices(
    out_indices: int | Sequence[int] | None, output_norm: str
) -> tuple[bool, tuple[int, ...]]:
    """Whether a tuple is returned, and the stages from 0."""
    last = NUM_STAGES - 1
    if out_indices is None:
        out_indices = tuple(range(NUM_STAGES)) if output_norm == "layer" else last
    as_tuple = isinstance(out_indices, Sequence)
    indices = tuple(out_indices) if isinstance(out_indices, Sequence) else (out_indices,)
    indices = tuple(i + NUM_STAGES if is_whole(i) and i < 0 else i for i in indices)
    known = all(is_whole(i) and 0 <= i <= last for i in indices)
    if not indices or not known or len(set(indices)) < len(indices):
        raise ValueError(f"out_indices must be distinct stages from 0 to {last}, got {out_indices}")
    if output_norm == "batch" and indices != (last,):
        raise ValueError(
            f"output_norm='batch' normalises the last stage only: out_indices must be {last}"
            f" or ({last},), got {out_indices}"
        )
    return as_tuple, indices


def _resolve_checkpointing(with_cp: bool | Sequence[int], depths: Sequence[int]) -> tuple[int, ...]:
    """Number of checkpointed blocks per stage."""
    if isinstance(with_cp, bool):
        return tuple(depths) if with_cp else (0,) * NUM_STAGES
    if not are_whole(with_cp, NUM_STAGES, least=0):
        raise ValueError(f"with_cp must be a bool or {NUM_STAGES} counts, got {with_cp!r}")
    return tuple(with_cp)


def _checkpointed(block: nn.Module, *inputs: Tensor | None) -> Any:
    """Run a block without keeping its activations; they are computed again for the gradient."""
    if isinstance(block, LocalBlock) and not torch.compiler.is_compiling():
        # The second forward pass must not update the running statistics a second time. A compiled
        # one does not: it recomputes values only.
        return checkpoint(
            block,
            *inputs,
            use_reentrant=False,
            context_fn=lambda: (contextlib.nullcontext(), _untracked_statistics(block)),
        )
    return checkpoint(block, *inputs, use_reentrant=False)


@contextlib.contextmanager
def _untracked_statistics(block: nn.Module) -> Iterator[None]:
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


def init_parameters(module: nn.Module) -> None:
    """Linear layers as in the official code (truncated normal, 0.02); the rest is PyTorch's."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, DividedGlobalBlock):
        nn.init.zeros_(module.t_attn.qkv.weight)
        nn.init.ones_(module.t_attn.proj.weight)


def _check_init_cfg(cfg: Any) -> None:
    """Where it is wrong, it would show when the training begins."""
    if not isinstance(cfg, Mapping):
        raise ValueError(f"init_cfg must be a dict, a list of dicts, or None, got {cfg!r}")
    kind = cfg.get("type")
    if isinstance(kind, str) and "." not in kind:
        registries = (WEIGHT_INITIALIZERS, *WEIGHT_INITIALIZERS.children.values())
        known = any(kind in registry.module_dict for registry in registries)
    else:  # a name with a scope in front is for its registry to find
        known = callable(kind) or bool(kind and re.fullmatch(r"\w+(\.\w+)+", str(kind)))
    if not known:
        raise ValueError(
            f"init_cfg needs the type of an initializer, such as 'Pretrained', got {kind!r}"
        )
    if cfg.get("type") in PRETRAINED and "checkpoint" not in cfg:
        raise ValueError(f"init_cfg of type 'Pretrained' needs a checkpoint, got {dict(cfg)}")
