"""UniFormer for OpenMMLab 2.x.

Importing this package registers the backbones, the initializer that loads their checkpoints, and
some hooks in mmengine's root registries
(``type='mmengine.UniFormer'`` in the configs of any codebase) and repairs what is broken in the
OpenMMLab stack on current PyTorch, see `uniformer_mm.compat`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

try:
    import mmengine  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "uniformer_mm needs mmengine: pip install 'uniformer-mm[det,lite]' (or another extra: seg,"
        " pose, video, cls, all), or 'uniformer-mm[onedl]' for the maintained forks",
        name="mmengine",
    ) from error

import uniformer_mm.checkpoints
import uniformer_mm.engine.hooks
import uniformer_mm.engine.layer_decay  # noqa: F401
from uniformer_mm.compat import repair_stack
from uniformer_mm.models import UniFormer, UniFormerLight
from uniformer_mm.version import __version__

if TYPE_CHECKING:
    from uniformer_mm.apis.inference import Inferencer
    from uniformer_mm.apis.models import get_model
    from uniformer_mm.checkpoints.zoo import list_models

repair_stack()

__all__ = [
    "Inferencer",
    "UniFormer",
    "UniFormerLight",
    "__version__",
    "get_model",
    "list_models",
]

_LAZY = {
    "Inferencer": "uniformer_mm.apis.inference",
    "get_model": "uniformer_mm.apis.models",
    "list_models": "uniformer_mm.checkpoints.zoo",
}
"""Module by name: imported on first use, because training does not need it."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
