"""mmengine finds configs of a fixed list of packages only.

Defect: `_base_ = "PACKAGE::CONFIG"` and `mmengine.hub.get_config` know OpenMMLab's own packages,
    and `Config.fromfile` knows none.
Versions: mmengine <= 0.10.7, onedl-mmengine <= 0.10.12.
Shows as: `mmengine does not support to load uniformer_mm config`.
Repair: all three accept `uniformer_mm::det/mask_rcnn_uniformer_s.py`, and `Config.fromfile` the
    names of the other packages too.
Upstream: https://github.com/open-mmlab/mmengine/blob/v0.10.7/mmengine/config/utils.py
"""

from pathlib import Path
from types import ModuleType
from typing import Any

from uniformer_mm.compat.patching import wrap

PREFIX = "uniformer_mm::"


def package_config(name: str) -> Path:
    """The file of a config of this package, `uniformer_mm::TASK/NAME.py`."""
    from uniformer_mm.checkpoints.zoo import MIM

    return MIM / "configs" / name.removeprefix(PREFIX)


def patch_config(module: ModuleType) -> None:
    """Let configs name those of this package."""
    wrap(module.Config, "_get_cfg_path", _get_cfg_path)
    wrap(module.Config, "fromfile", _fromfile)


def _get_cfg_path(find: Any, cfg_path: str, filename: str) -> tuple[str, str | None]:
    if cfg_path.startswith(PREFIX):
        # No scope: these configs name the codebase that they are for.
        return str(package_config(cfg_path)), None
    return find(cfg_path, filename)


def _fromfile(read: Any, filename: str | Path, *args: Any, **kwargs: Any) -> Any:
    from mmengine.config import Config

    if "::" in str(filename) and not Path(filename).is_file():
        filename, _ = Config._get_cfg_path(str(filename), "")
    return read(filename, *args, **kwargs)


def patch_hub(module: ModuleType) -> None:
    """Let `mmengine.hub.get_config` take the configs of this package."""
    wrap(module, "get_config", _get_config)


def _get_config(get: Any, cfg_path: str, pretrained: bool = False) -> Any:
    if not cfg_path.startswith(PREFIX):
        return get(cfg_path, pretrained)
    from mmengine.config import Config

    from uniformer_mm.checkpoints.zoo import find_model

    cfg = Config.fromfile(cfg_path)
    if pretrained:
        cfg.model_path = find_model(Path(cfg_path).stem).weights
    return cfg


PATCHES = {"mmengine.config.config": patch_config, "mmengine.hub.hub": patch_hub}
