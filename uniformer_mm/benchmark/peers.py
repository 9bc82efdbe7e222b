"""Other implementations of UniFormer, imported from where the user has them, to run beside ours.

Nothing of them is contained here. The official code imports versions of OpenMMLab, SlowFast
and timm that no longer install; the little that its backbones use of them is stood in for during
the import.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

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

INSTALLED_PORT = "mmaction2"
"""Name of the one port that a codebase installs."""

FAKE_PACKAGE = "uniformer_peer"
"""Package that a peer's file seems to be in, for the sake of its relative imports."""

STOOD_IN_FOR = ("mmcv_custom", "slowfast", "timm", "mmdet", "mmseg", "mmpose", FAKE_PACKAGE)


def load_peer(source: str, model: UniFormer) -> nn.Module:
    """Another implementation of the same architecture, with the same weights.

    Args:
        source: Folder of a checkout of the official repository, a file of it (or of a copy), or
            'mmaction2' for the installed port.
        model: Our backbone.

    Returns:
        A module that takes what `model` takes and returns what it returns.

    Raises:
        UserError: There is nothing at `source`, or it has another architecture.
    """
    if source == INSTALLED_PORT:
        peer = _mmaction2(model)
    else:
        peer = _official(_file(Path(source), model), model)
    missing, unexpected = peer.load_state_dict(model.state_dict(), strict=False)
    foreign = [name for name in missing if not name.startswith(HEADS)]
    if foreign or unexpected:
        raise UserError(
            f"--peer {source} is not the architecture of this model:"
            f" names such as {(foreign + unexpected)[:3]} have no counterpart"
        )
    peer.train(model.training)  # the official light model's returns nothing
    return peer


HEADS = ("head.", "head_cls.", "norm_cls.")
"""What a peer may have beyond the backbone."""


def _file(path: Path, model: UniFormer) -> Path:
    if path.is_dir():
        path = path / CHECKOUT_FILES[type(model), model.dims, model.output_norm]
    if not path.is_file():
        raise UserError(
            f"--peer {path}: no such file; give a checkout of https://github.com/Sense-X/UniFormer,"
            f" a file of it, or {INSTALLED_PORT}"
        )
    return path


def _official(path: Path, model: UniFormer) -> nn.Module:
    """The backbone in a file of the official code, in whichever of its styles that is written."""
    module = _import_file(path)
    depths = [len(getattr(model, f"blocks{i + 1}")) for i in range(4)]
    ratios = [
        block[0].mlp.fc1.weight.shape[0] / dim
        for block, dim in zip(
            (getattr(model, f"blocks{i + 1}") for i in range(4)), model.embed_dims, strict=True
        )
    ]
    shared: dict[str, Any] = {"embed_dim": list(model.embed_dims), "head_dim": model.head_dim}
    if isinstance(model, UniFormerLight):
        keep = [[], [], [1.0] + [0.5] * (depths[2] - 1), [0.5] * depths[3]]
        light = {"prune_ratio": keep, "trade_off": keep}
        if model.dims == 3:
            return _slowfast(module.Uniformer_light(_slowfast_cfg(shared, depths, ratios, light)))
        peer = module.UniFormer_Light(
            depth=depths, mlp_ratio=ratios, conv_stem=True, **light, **shared
        )
        return _features_of(peer, 1) if model.output_norm == "batch" else peer
    if model.dims == 3:
        return _slowfast(module.Uniformer(_slowfast_cfg(shared, depths, ratios[0], {})))
    if model.output_norm == "batch":
        stem = isinstance(model.patch_embed1, ConvEmbed)
        return _features_of(
            module.UniFormer(depth=depths, mlp_ratio=ratios[0], conv_stem=stem, **shared)
        )
    windows = [block.window_size for block in model.blocks3]
    mode = {} if not any(windows) else {"windows": True} if all(windows) else {"hybrid": True}
    return module.UniFormer(
        layers=depths, mlp_ratio=ratios[0], **mode, window_size=max(windows) or 14, **shared
    )


def _slowfast_cfg(shared: dict, depths: list, ratio: Any, more: dict) -> SimpleNamespace:
    """The part of a SlowFast config that the official video models read."""
    uniformer = {**shared, **more, "depth": depths, "mlp_ratio": ratio, "qkv_bias": True}
    rates = dict.fromkeys(("dropout_rate", "attention_dropout_rate", "drop_depth_rate"), 0.0)
    rest = dict.fromkeys(("qkv_scale", "representation_size", "split", "std", "pretrain_name"))
    keys = {name.upper(): value for name, value in {**uniformer, **rates, **rest}.items()}
    return SimpleNamespace(
        UNIFORMER=SimpleNamespace(**keys),
        MODEL=SimpleNamespace(NUM_CLASSES=400, USE_CHECKPOINT=False, CHECKPOINT_NUM=[0] * 4),
        DATA=SimpleNamespace(TRAIN_CROP_SIZE=224, INPUT_CHANNEL_NUM=[3]),
    )


def _slowfast(peer: nn.Module) -> nn.Module:
    light = hasattr(peer, "cls_token")
    return _features_of(peer, 1 if light else None)


def _features_of(peer: Any, entry: int | None = None) -> nn.Module:
    """A classifier whose forward pass ends before its head."""
    features: Callable = peer.forward_features
    peer.forward = features if entry is None else lambda x: features(x)[entry]
    return peer


def _mmaction2(model: UniFormer) -> nn.Module:
    if isinstance(model, UniFormerLight) or model.dims != 3:
        raise UserError(f"--peer {INSTALLED_PORT}: its port is for videos, and not of light models")
    from mmaction.models.backbones import UniFormer as Port

    return Port(
        depth=[len(getattr(model, f"blocks{i + 1}")) for i in range(4)],
        embed_dim=list(model.embed_dims),
        head_dim=model.head_dim,
        pretrained2d=False,
    )


def _import_file(path: Path) -> ModuleType:
    """Run a Python file with stand-ins for what it imports and this environment has not."""
    name = f"{FAKE_PACKAGE}.backbones.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with _stand_ins():
        try:
            spec.loader.exec_module(module)
        except (ImportError, AttributeError, SyntaxError) as error:
            raise UserError(f"--peer {path} cannot be imported: {error}") from error
    return module


class _StandIn(ModuleType):
    """A module of which the official backbones use no more than this."""

    DropPath = DropPath
    trunc_normal_ = staticmethod(nn.init.trunc_normal_)

    def to_2tuple(self, value: Any) -> tuple[Any, Any]:
        return value if isinstance(value, tuple) else (value, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything()


class _Anything:
    """A registry, a logger, or a function called for its side effect."""

    def __getattr__(self, name: str) -> "_Anything":
        return self

    def __call__(self, *args: Any, **_: Any) -> Any:
        return args[0] if args and isinstance(args[0], type) else self


class _StandInFinder(MetaPathFinder, Loader):
    def find_spec(self, fullname: str, *_: Any) -> ModuleSpec | None:
        if fullname.partition(".")[0] in STOOD_IN_FOR:
            return ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Replace the packages while a peer is imported, and put everything back."""

    def ours(name: str) -> bool:
        return name.partition(".")[0] in STOOD_IN_FOR

    finder = _StandInFinder()
    real = {name: sys.modules.pop(name) for name in list(sys.modules) if ours(name)}
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if ours(name)]:
            del sys.modules[name]
        sys.modules.update(real)


def agreement(ours: Any, theirs: Any) -> float:
    """Largest difference of two results over the standard deviation of the second.

    Raises:
        UserError: They have different shapes.
    """
    return max(float((a - b).abs().max() / b.std()) for a, b in _pairs(ours, theirs))


def error(result: Any, reference: Any) -> float:
    """Norm of the difference of two results over that of the second: the worst of their maps.

    Raises:
        UserError: They have different shapes.
    """
    return max(float((a - b).norm() / b.norm()) for a, b in _pairs(result, reference))


def _pairs(ours: Any, theirs: Any) -> Iterator[tuple[Tensor, Tensor]]:
    ours, theirs = ([r] if isinstance(r, Tensor) else list(r) for r in (ours, theirs))
    shapes, expected = ([tuple(r.shape) for r in results] for results in (ours, theirs))
    if shapes != expected:
        raise UserError(f"results of the shapes {shapes} and {expected} cannot be compared")
    return ((a.float(), b.float()) for a, b in zip(ours, theirs, strict=True))
