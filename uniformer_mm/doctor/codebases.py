"""What the doctor has to know of the codebases even where they are absent or broken."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import NamedTuple


class Codebase(NamedTuple):
    """A codebase of OpenMMLab.

    Attributes:
        module: What Python calls it; also the scope of its registries.
        distribution: What pip calls it.
        extra: Extra of this package that installs it.
        config: One of ours for it, below configs/.
    """

    module: str
    distribution: str
    extra: str
    config: str

    @property
    def is_installed(self) -> bool:
        """Whether Python finds it; it may be broken nevertheless."""
        return find_spec(self.module) is not None


CODEBASES = (
    Codebase("mmdet", "mmdet", "det", "det/mask_rcnn_uniformer_s.py"),
    Codebase("mmseg", "mmsegmentation", "seg", "seg/upernet_uniformer_s_h14.py"),
    Codebase("mmpose", "mmpose", "pose", "pose/td_hm_uniformer_s_256x192.py"),
    Codebase("mmaction", "mmaction2", "video", "video/uniformer_s_8x8_k400.py"),
    Codebase("mmpretrain", "mmpretrain", "cls", "cls/uniformer_s_in1k.py"),
)


def install_command(extra: str) -> str:
    """The command that installs a codebase, and an mmcv where there is none."""
    extras = extra if find_spec("mmcv") else f"{extra},lite"
    return f"pip install 'uniformer-mm[{extras}]'"


def version_of(distribution: str) -> str | None:
    """Version of an installed distribution, None if there is none."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
