"""mmpretrain and mmaction2 cannot be imported with a current transformers.

Defect: where transformers is installed, both import their multimodal models, which need names
    that were removed from `transformers.modeling_utils` and, in mmaction2, timm, which is not a
    requirement. mmdet's models import mmpretrain and fail with it.
Versions: mmpretrain 1.2.0 and mmaction2 1.2.0; transformers 4.55.4 and 5, not yet 4.50.
Shows as: `TypeError: NoneType takes no arguments`, `cannot import name 'GenerationMixin'` or
    `'apply_chunking_to_forward'`, `No module named 'timm'`.
Repair: they treat transformers as missing where it lacks these names. Building a multimodal model
    then fails as it does without transformers; nothing else changes.
Upstream: https://github.com/huggingface/transformers/pull/16625 moved them. Neither package has
    had a release since they were removed.
"""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

_BERT = ("apply_chunking_to_forward", "find_pruneable_heads_and_indices", "prune_linear_layer")

NEEDS: dict[str, dict[str, tuple[str, ...]]] = {
    "mmpretrain": {"transformers.modeling_utils": (*_BERT, "GenerationConfig", "GenerationMixin")},
    "mmaction": {"transformers.modeling_utils": _BERT, "timm.models.layers": ("DropPath",)},
}
"""Names that the multimodal models of a package import and that may be missing, by module."""


def is_active() -> bool:
    """Whether one of the packages would fail."""
    return find_spec("transformers") is not None and any(
        find_spec(package) and not _have(needs) for package, needs in NEEDS.items()
    )


def patch(module: ModuleType) -> None:
    """Disable multimodal models where transformers lacks what they import."""
    if not _have(NEEDS[module.__name__.partition(".")[0]]):
        module.WITH_MULTIMODAL = False  # type: ignore[attr-defined]


def _have(needs: Mapping[str, tuple[str, ...]]) -> bool:
    try:
        return all(hasattr(import_module(name), part) for name in needs for part in needs[name])
    except (ImportError, RuntimeError):  # the latter is transformers' own
        return False


PATCHES = {f"{package}.utils.dependency": patch for package in NEEDS}
