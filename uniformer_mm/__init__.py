"""UniFormer for OpenMMLab 2.x.

Importing this package registers the backbones, the initializer that loads their checkpoints, and
some hooks in mmengine's root registries
(``type='mmengine.UniFormer'`` in the configs of any codebase) and repairs what is broken in the
OpenMMLab stack on current PyTorch, see `uniformer_mm.compat`.
"""

from typing import TYPE_CHECKING, Any

import uniformer_mm.checkpoints
import uniformer_mm.hooks  # noqa: F401
from uniformer_mm.compat import repair_stack
from uniformer_mm.models import UniFormer, UniFormerLight
from uniformer_mm.version import __version__

if TYPE_CHECKING:
    from uniformer_mm.apis.inference import Inferencer

repair_stack()

__all__ = ["Inferencer", "UniFormer", "UniFormerLight", "__version__"]


def __getattr__(name: str) -> Any:
    """What a training does not need is imported when it is asked for."""
    if name != "Inferencer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from uniformer_mm.apis.inference import Inferencer

    return Inferencer
