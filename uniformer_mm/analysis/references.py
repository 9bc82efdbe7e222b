"""Reference implementations of UniFormer, imported from the user's disk, to compare with ours.

No code of theirs is contained here. The official code imports versions of OpenMMLab, SlowFast and
timm that can no longer be installed: stand-ins replace them during the import.
"""

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

from torch import Tensor, nn

from uniformer_mm.errors import UserError
from uniformer_mm.models import UniFormer, UniFormerLight
from uniformer_mm.models.uniformer import ConvEmbed, DropPath

CHECKOUT_FILES = {
    (UniFormer, 2, "layer"): "object_detection/mmdet/models/backbones/uniformer.py",
    (UniFormer, 2, "batch"): "image_classification/models/uniformer.py",
    (UniFormer, 3, "batch"): "video_classification/slowfast/models/uniformer.py",
    (UniFormerLight, 2, "layer"): "object_detection/mmdet/models/backbones/uniformer_light.py",
    (UniFormerLight, 2, "batch"): "image_classification/models/uniformer_light.py",
    (UniFormerLight, 3, "batch"): "video_classification/slowfast/models/uniformer_light.py",
}
"""By class, dims and output norm: the file in a checkout of https://github.com/Sense-X/UniFormer."""

TIMM = "timm:"
"""Prefix of the names of timm's models."""

INSTALLED_PORT = "mmaction2"
"""Name of the port that an installed codebase contains."""

PACKAGE = "uniformer_reference.backbones"
"""Package that an imported file appears to be in, so that its relative imports resolve."""

REPLACED = (
    *("timm", "timm.models", "timm.models.layers", "timm.models.registry"),
    *("timm.models.vision_transformer", "mmcv_custom", "slowfast", "slowfast.utils"),
    *("slowfast.utils.logging", "uniformer_reference", "uniformer_reference.builder"),
    *(PACKAGE, f"{PACKAGE}.build"),
    *(
        f"{codebase}{module}"
        for codebase in ("mmdet", "mmseg", "mmpose")
        for module in ("", ".utils", ".models", ".models.builder")
    ),
)
"""Modules that the official backbones import."""

HEADS = ("head.", "head_cls.", "norm_cls.")
"""Parameters that a reference implementation may have in addition to the backbone's."""


def load_reference(source: str, model: UniFormer) -> nn.Module:
    """A reference implementation of the same architecture with the same weights.

    Args:
        source: Folder of a checkout of the official repository, a file of it (or of a copy), or
            'mmaction2' for the installed port.
        model: Our backbone.

    Returns:
        A module with the inputs and outputs of `model`.

    Raises:
        UserError: There is nothing at `source`, or its architecture is different.
    """
    if source == INSTALLED_PORT:
        reference = _mmaction2(model)
    else:
        reference = _official(_import_file(_file(Path(source), model)), model)
    missing, unexpected = reference.load_state_dict(model.state_dict(), strict=False)
    differing = [name for name in missing if not name.startswith(HEADS)] + unexpected
    if differing:
        raise UserError(
            f"--peer {source} does not have the architecture of this model:"
            f" keys such as {differing[:3]} are only in one of them"
        )
    reference.train(model.training)  # the official lightweight model's returns nothing
    return reference


def load_timm(source: str, size: Sequence[int], training: bool) -> nn.Module:
    """A backbone of timm with random weights, which returns the maps of all its stages.

    Args:
        source: `TIMM` and the name of the model.
        size: Height and width of the input, for models that are built for one size.
        training: Its mode.

    Raises:
        UserError: timm is not installed, or it has no such model.
    """
    try:
        import timm
    except ImportError:
        raise UserError(f"--peer {source}: timm is not installed: pip install timm") from None
    name = source.removeprefix(TIMM)
    if name not in timm.list_models():
        raise UserError(f"--peer {source}: timm {timm.__version__} has no such model")
    try:
        model = timm.create_model(name, features_only=True, img_size=tuple(size))
    except TypeError:  # convolutions take any size
        model = timm.create_model(name, features_only=True)
    return model.train(training)


def _file(path: Path, model: UniFormer) -> Path:
    if path.is_dir():
        path = path / CHECKOUT_FILES[type(model), model.dims, model.output_norm]
    if not path.is_file():
        raise UserError(
            f"--peer {path}: no such file; give a checkout of https://github.com/Sense-X/UniFormer,"
            f" a file of it, or {INSTALLED_PORT}"
        )
    return path


def _official(module: Any, model: UniFormer) -> nn.Module:
    """The backbone in a file of the official code, built in the style of that file."""
    stages = [model.get_submodule(f"blocks{i}") for i in range(1, 5)]
    depths = [len(blocks) for blocks in stages]
    ratios = [
        blocks.get_submodule("0").mlp.fc1.weight.shape[0] / dim
        for blocks, dim in zip(stages, model.embed_dims, strict=True)
    ]
    shared: dict[str, Any] = {"embed_dim": list(model.embed_dims), "head_dim": model.head_dim}
    if isinstance(model, UniFormerLight):
        keep = [[], [], [1.0] + [0.5] * (depths[2] - 1), [0.5] * depths[3]]
        light = {"prune_ratio": keep, "trade_off": keep}
        if model.dims == 3:
            cfg = _slowfast_cfg(depth=depths, mlp_ratio=ratios, **light, **shared)
            return _without_head(module.Uniformer_light(cfg), 1)
        reference = module.UniFormer_Light(
            depth=depths, mlp_ratio=ratios, conv_stem=True, **light, **shared
        )
        return _without_head(reference, 1) if model.output_norm == "batch" else reference
    shared["mlp_ratio"] = ratios[0]
    if model.dims == 3:
        return _without_head(module.Uniformer(_slowfast_cfg(depth=depths, **shared)))
    if model.output_norm == "batch":
        stem = isinstance(model.patch_embed1, ConvEmbed)
        return _without_head(module.UniFormer(depth=depths, conv_stem=stem, **shared))
    windows = [block.window_size for block in stages[2].children()]
    mode = {} if not any(windows) else {"windows": True} if all(windows) else {"hybrid": True}
    return module.UniFormer(layers=depths, window_size=max(windows) or 14, **mode, **shared)


def _slowfast_cfg(**options: Any) -> SimpleNamespace:
    """The part of a SlowFast config that the official video models read."""
    options |= {"qkv_bias": True}
    options |= dict.fromkeys(("dropout_rate", "attention_dropout_rate", "drop_depth_rate"), 0.0)
    options |= dict.fromkeys(("qkv_scale", "representation_size", "split", "std", "pretrain_name"))
    return SimpleNamespace(
        UNIFORMER=SimpleNamespace(**{name.upper(): value for name, value in options.items()}),
        MODEL=SimpleNamespace(NUM_CLASSES=400, USE_CHECKPOINT=False, CHECKPOINT_NUM=[0] * 4),
        DATA=SimpleNamespace(TRAIN_CROP_SIZE=224, INPUT_CHANNEL_NUM=[3]),
    )


def _without_head(reference: Any, entry: int | None = None) -> nn.Module:
    """A classifier whose forward pass returns (an entry of) its features."""
    features = reference.forward_features
    reference.forward = features if entry is None else lambda x: features(x)[entry]
    return reference


def _mmaction2(model: UniFormer) -> nn.Module:
    if isinstance(model, UniFormerLight) or model.dims != 3:
        raise UserError(
            f"--peer {INSTALLED_PORT}: its port is for videos, and not of lightweight models"
        )
    from mmaction.models.backbones import UniFormer as Port

    return Port(
        depth=[len(model.get_submodule(f"blocks{i}")) for i in range(1, 5)],
        embed_dim=list(model.embed_dims),
        head_dim=model.head_dim,
        pretrained2d=False,
    )


class _StandIn(ModuleType):
    """Replaces a module, and registries, loggers and functions that are called in it."""

    DropPath = DropPath
    trunc_normal_ = staticmethod(nn.init.trunc_normal_)

    def to_2tuple(self, value: Any) -> tuple[Any, Any]:
        return value if isinstance(value, tuple) else (value, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *args: Any, **_: Any) -> Any:
        return args[0] if args and isinstance(args[0], type) else self


def _import_file(path: Path) -> ModuleType:
    """Run a Python file with stand-ins for what it imports and may not be installed."""
    spec = importlib.util.spec_from_file_location(f"{PACKAGE}.{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with patch.dict(sys.modules, {name: _StandIn(name) for name in REPLACED}):
        try:
            spec.loader.exec_module(module)
        except (ImportError, AttributeError, SyntaxError) as error:
            raise UserError(f"--peer {path} cannot be imported: {error}") from error
    return module


def max_difference(ours: Any, theirs: Any) -> float:
    """Largest difference of two results, in standard deviations of the second.

    Raises:
        UserError: Their shapes differ.
    """
    return max(float((a - b).abs().max() / b.std()) for a, b in _pairs(ours, theirs))


def relative_error(result: Any, expected: Any) -> float:
    """Norm of the difference of two results over that of the second; the largest of their maps.

    Raises:
        UserError: Their shapes differ.
    """
    return max(float((a - b).norm() / b.norm()) for a, b in _pairs(result, expected))


def _pairs(ours: Any, theirs: Any) -> Iterator[tuple[Tensor, Tensor]]:
    ours, theirs = ([r] if isinstance(r, Tensor) else list(r) for r in (ours, theirs))
    shapes, expected = ([tuple(r.shape) for r in results] for results in (ours, theirs))
    if shapes != expected:
        raise UserError(f"cannot compare results of shapes {shapes} and {expected}")
    return ((a.float(), b.float()) for a, b in zip(ours, theirs, strict=True))
