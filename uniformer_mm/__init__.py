"""UniFormer for OpenMMLab 2.x.

Importing this package registers the backbones in mmengine's root registry
(``type='mmengine.UniFormer'`` in the configs of any codebase) and repairs what is broken in the
OpenMMLab stack on current PyTorch, see `uniformer_mm.compat`.
"""

from uniformer_mm.compat import repair_stack
from uniformer_mm.models import UniFormer, UniFormerLight
from uniformer_mm.version import __version__

repair_stack()

__all__ = ["UniFormer", "UniFormerLight", "__version__"]
