"""Presets of the architectures, and the checks of a backbone's options.

Options come from configs. An error names the option, its value and what it may be. A value of
another type is refused even where Python would take it: `split="false"` is true.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from mmengine.model import PretrainedInit
from mmengine.registry import WEIGHT_INITIALIZERS

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
"""Presets of `UniFormer` (arXiv 2201.09450, Table 1 and Section 4.1) on top of `ARCH_DEFAULTS`."""

ARCH_DEFAULTS: dict[str, Any] = {
    "depths": None,
    "embed_dims": (64, 128, 320, 512),
    "head_dim": 64,
    "mlp_ratio": 4.0,
    "stem": "patch",
    "downsample": "patch",
    "layer_scale": "none",
}
"""Keys of an arch and their defaults. `depths` is required."""

LIGHT_ARCHS: dict[str, dict[str, Any]] = {
    "xxs": {"depths": (2, 5, 8, 2), "embed_dims": (56, 112, 224, 448), "head_dim": 28},
    "xs": {"depths": (3, 5, 9, 3), "embed_dims": (64, 128, 256, 512), "head_dim": 32},
}
"""Presets of `UniFormerLight` (arXiv 2201.09450v4, Section 3.5) on top of `LIGHT_DEFAULTS`."""

LIGHT_DEFAULTS: dict[str, Any] = {
    **ARCH_DEFAULTS,
    "mlp_ratio": 3.0,
    "stem": "conv",
    "keep_ratio": 0.5,
    "score_update": 0.5,
}

NUM_STAGES = 4
LAST_STAGE = NUM_STAGES - 1

MIN_SIZE = 32
"""Minimum height and width of an input in pixels: stage 4 has one token left."""

ATTENTION_MODES = ("global", "window", "hybrid")
EMBEDDINGS = ("patch", "conv")
LAYER_SCALES = ("none", "global", "all")
OUTPUT_NORMS = ("layer", "batch")

PRETRAINED = ("Pretrained", PretrainedInit)
"""Types of `init_cfg` that load a checkpoint."""


def resolve_arch(
    arch: str | Mapping[str, Any],
    archs: Mapping[str, Mapping[str, Any]] = ARCHS,
    defaults: Mapping[str, Any] = ARCH_DEFAULTS,
) -> dict[str, Any]:
    """Return all settings of an arch, given by name or as a dict.

    Raises:
        ValueError: The name, a key or a value is not valid.
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
        if not is_int_sequence(value, NUM_STAGES, minimum=1):
            raise ValueError(
                f"arch needs {NUM_STAGES} {key}, one per stage, got {value!r}: each is an integer"
                " above 0"
            )
        settings[key] = tuple(value)
    for key, default in defaults.items():
        if isinstance(default, float):
            check_number(key, settings[key])
    if int(min(settings["embed_dims"]) * settings["mlp_ratio"]) < 1:
        raise ValueError(f"mlp_ratio leaves no hidden channels: {settings['mlp_ratio']}")
    if not 0 < settings.get("keep_ratio", 0.5) < 1:
        raise ValueError(f"keep_ratio must be between 0 and 1, got {settings['keep_ratio']}")
    return settings


@dataclass(frozen=True)
class Settings:
    """Options of a backbone, resolved and checked.

    Attributes:
        arch: All settings of the arch.
        layer_scales: Initial layer scale of the blocks of each stage; None for no layer scale.
        windows: Window size of each block of stage 3, 0 for global attention.
        drop_paths: Stochastic depth of the blocks of each stage.
        output_norm: 'layer' or 'batch'.
        returns_tuple: Whether the backbone returns a tuple.
        out_indices: Stages to return, from 0.
        checkpointed_blocks: Number of checkpointed blocks of each stage.
    """

    arch: Mapping[str, Any]
    layer_scales: tuple[float | None, ...]
    windows: tuple[int, ...]
    drop_paths: tuple[tuple[float, ...], ...]
    output_norm: str
    returns_tuple: bool
    out_indices: tuple[int, ...]
    checkpointed_blocks: tuple[int, ...]


def resolve_options(
    options: Mapping[str, Any],
    archs: Mapping[str, Mapping[str, Any]] = ARCHS,
    defaults: Mapping[str, Any] = ARCH_DEFAULTS,
) -> Settings:
    """Resolve and check the options of a backbone, by the names of its arguments.

    Raises:
        ValueError: An option has a value that is not allowed, or contradicts another one.
    """
    arch = resolve_arch(options["arch"], archs, defaults)
    for name in ("head_dim", "layer_scale"):
        if options[name] is not None:
            arch[name] = options[name]
    dims, depths, widths = options["dims"], arch["depths"], arch["embed_dims"]
    output_norm = options["output_norm"] or ("layer" if dims == 2 else "batch")
    check_choice("dims", dims, (2, 3))
    check_choice("stem", arch["stem"], EMBEDDINGS)
    check_choice("downsample", arch["downsample"], EMBEDDINGS)
    check_choice("layer_scale", arch["layer_scale"], LAYER_SCALES)
    check_choice("output_norm", output_norm, OUTPUT_NORMS)
    for name in ("qkv_bias", "split", "std", "norm_eval"):
        check_choice(name, options[name], (True, False))
    check_choice("kernels", options["kernels"], (None, True, False))
    for name in ("drop_rate", "attn_drop_rate", "drop_path_rate"):
        check_number(name, options[name], below=1)
    check_number("layer_scale_init", options["layer_scale_init"])
    check_int("in_channels", options["in_channels"], 1)
    check_int("head_dim", arch["head_dim"], 1)
    check_int("frozen_stages", options["frozen_stages"], -1, NUM_STAGES)
    check_init_cfg(options["init_cfg"])
    if dims == 3 and options["attention"] != "global":
        raise ValueError(f"attention must be 'global' for dims=3, got {options['attention']!r}")
    if dims == 2 and (options["split"] or options["std"]):
        raise ValueError("split and std are options of videos: they need dims=3")
    if options["std"] and arch["downsample"] != "patch":
        raise ValueError("std is about embeddings of kind 'patch', got downsample='conv'")
    if any(dim % arch["head_dim"] for dim in widths[2:]):
        raise ValueError(
            f"head_dim must divide the embed_dims of stages 3 and 4, {widths[2:]},"
            f" got {arch['head_dim']}"
        )
    scaled = {"none": (), "global": (2, 3), "all": (0, 1, 2, 3)}[arch["layer_scale"]]
    scale = options["layer_scale_init"]
    returns_tuple, out_indices = resolve_out_indices(options["out_indices"], output_norm)
    return Settings(
        arch=arch,
        layer_scales=tuple(scale if i in scaled else None for i in range(NUM_STAGES)),
        windows=window_sizes(options["attention"], options["window_size"], depths[2]),
        drop_paths=drop_path_rates(options["drop_path_rate"], depths),
        output_norm=output_norm,
        returns_tuple=returns_tuple,
        out_indices=out_indices,
        checkpointed_blocks=resolve_checkpointing(options["with_cp"], depths),
    )


def resolve_out_indices(
    out_indices: int | Sequence[int] | None, output_norm: str
) -> tuple[bool, tuple[int, ...]]:
    """Return whether the backbone returns a tuple, and its stages from 0.

    Raises:
        ValueError: They are not distinct stages, or `output_norm` does not serve them.
    """
    if out_indices is None:
        out_indices = tuple(range(NUM_STAGES)) if output_norm == "layer" else LAST_STAGE
    as_tuple = isinstance(out_indices, Sequence)
    given = tuple(out_indices) if isinstance(out_indices, Sequence) else (out_indices,)
    indices = tuple(i + NUM_STAGES if is_int(i) and i < 0 else i for i in given)
    known = all(is_int(i) and 0 <= i <= LAST_STAGE for i in indices)
    if not indices or not known or len(set(indices)) < len(indices):
        raise ValueError(
            f"out_indices must be distinct stages from 0 to {LAST_STAGE}, got {out_indices}"
        )
    if output_norm == "batch" and indices != (LAST_STAGE,):
        raise ValueError(
            "output_norm='batch' normalises the last stage only: out_indices must be"
            f" {LAST_STAGE} or ({LAST_STAGE},), got {out_indices}"
        )
    return as_tuple, indices


def resolve_checkpointing(with_cp: bool | Sequence[int], depths: Sequence[int]) -> tuple[int, ...]:
    """Return the number of checkpointed blocks per stage.

    Raises:
        ValueError: `with_cp` is neither a bool nor one count per stage.
    """
    if isinstance(with_cp, bool):
        return tuple(depths) if with_cp else (0,) * NUM_STAGES
    if not is_int_sequence(with_cp, NUM_STAGES, minimum=0):
        raise ValueError(f"with_cp must be a bool or {NUM_STAGES} counts, got {with_cp!r}")
    return tuple(with_cp)


def drop_path_rates(rate: float, depths: Sequence[int]) -> tuple[tuple[float, ...], ...]:
    """Return the stochastic depth of the blocks of each stage, from 0 to `rate` linearly."""
    last = max(sum(depths) - 1, 1)
    starts = [sum(depths[:i]) for i in range(len(depths))]
    return tuple(
        tuple(rate * (start + j) / last for j in range(depth))
        for start, depth in zip(starts, depths, strict=True)
    )


def window_sizes(attention: str, window_size: int, depth: int) -> tuple[int, ...]:
    """Return the window size of each block of stage 3, 0 for global attention.

    In the hybrid mode every fourth block is global (arXiv 2201.09450, Section 3.4).

    Raises:
        ValueError: The mode is unknown, or the window size is below 1.
    """
    check_choice("attention", attention, ATTENTION_MODES)
    check_int("window_size", window_size, 1)
    is_global = {
        "global": [True] * depth,
        "window": [False] * depth,
        "hybrid": [i % 4 == 3 for i in range(depth)],
    }
    return tuple(0 if every else window_size for every in is_global[attention])


def check_init_cfg(init_cfg: Any) -> None:
    """Check an `init_cfg`, whose mistakes would otherwise show when training begins.

    Raises:
        ValueError: An entry has no known type, or 'Pretrained' has no checkpoint.
    """
    for cfg in init_cfg if isinstance(init_cfg, list) else [init_cfg] if init_cfg else []:
        if not isinstance(cfg, Mapping):
            raise ValueError(f"init_cfg must be a dict, a list of dicts, or None, got {cfg!r}")
        kind = cfg.get("type")
        if isinstance(kind, str) and "." not in kind:
            registries = (WEIGHT_INITIALIZERS, *WEIGHT_INITIALIZERS.children.values())
            known = any(kind in registry.module_dict for registry in registries)
        else:  # the registry of its scope finds a name that has one
            known = callable(kind) or bool(kind and re.fullmatch(r"\w+(\.\w+)+", str(kind)))
        if not known:
            raise ValueError(
                f"init_cfg needs the type of an initializer, such as 'Pretrained', got {kind!r}"
            )
        if kind in PRETRAINED and "checkpoint" not in cfg:
            raise ValueError(f"init_cfg of type 'Pretrained' needs a checkpoint, got {dict(cfg)}")


def check_choice(name: str, value: Any, allowed: Sequence[Any]) -> None:
    """Check that a value is one of the allowed ones.

    Raises:
        ValueError: It is not.
    """
    if not any(type(value) is type(choice) and value == choice for choice in allowed):
        raise ValueError(f"{name} must be one of {tuple(allowed)}, got {value!r}")


def check_int(name: str, value: Any, minimum: int, maximum: int | None = None) -> None:
    """Check that a value is an integer in a range, both ends included.

    Raises:
        ValueError: It is not.
    """
    if not is_int(value) or value < minimum or (maximum is not None and value > maximum):
        limits = f"at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
        kind = "" if is_int(value) else ", which is not an integer"
        raise ValueError(f"{name} must be {limits}, got {value!r}{kind}")


def check_number(name: str, value: Any, below: float = math.inf) -> None:
    """Check that a value is a number in [0, below).

    Raises:
        ValueError: It is not.
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not 0 <= value < below:
        limits = "a number from 0" if below == math.inf else f"in [0, {below:g})"
        raise ValueError(f"{name} must be {limits}, got {value!r}")


def is_int(value: Any) -> bool:
    """Whether a value is an integer, and not True or False."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_int_sequence(values: Any, count: int, minimum: int) -> bool:
    """Whether values are a sequence of `count` integers, each at least `minimum`."""
    if not isinstance(values, Sequence) or len(values) != count:
        return False
    return all(is_int(value) and value >= minimum for value in values)
