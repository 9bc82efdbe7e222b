"""Channels of an attention head in published files, which no shape in them tells."""

import hashlib
import re
from pathlib import Path

from uniformer_mm.checkpoints.sources import CHUNK, CheckpointError, known_hash, locate
from uniformer_mm.zoo import list_models

SIZE = "(small|base|s|b)"

HEAD_DIMS = {
    64: "|".join(
        [
            rf"uniformer_{SIZE}(_ls)?_in1k",
            rf"uniformer_{SIZE}(_plus)?_dim64(_tl_224)?(_in1k)?",
            r"uniformer_(large|l)_ls_tl_(224|384)(_in1k)?",
            rf"uniformer_{SIZE}_(k400|k600)_\d+x\d+",
            rf"uniformer_{SIZE}_(sthv1|sthv2)_\d+_prek[46]00",
            rf"uniformer_{SIZE}_\d+x\d+_(k400|k600|ucf101|hmdb51)",
            rf"uniformer_{SIZE}_\d+_(sthv1|sthv2)_prek[46]00",
            rf"uniformer-{SIZE}_imagenet1k-pre_\d+x\d+x1_kinetics400-rgb",
            rf"(cascade_)?mask_rcnn_(1x|3x_ms)_hybrid_{SIZE}",
            rf"(upernet|fpn)_(global|hybrid)_{SIZE}",
            rf"top_down_\d+x\d+_global_{SIZE}",
            rf"((cascade_)?mask_rcnn|upernet|semantic_fpn|td_hm|tsn)_uniformer_{SIZE}(_\w+)?",
        ]
    ),
    32: "|".join(
        [
            rf"uniformer_{SIZE}(_plus)?_tl_(224|384)(_in1k)?",
            r"uniformer_(small|s)_plus_in1k",
            r"uniformer_xs\d*_(\d+x)?\d+_(in1k|k400)",
            r"(mask_rcnn_1x|fpn|mask_rcnn_uniformer|semantic_fpn_uniformer)_xs",
        ]
    ),
    28: "|".join(
        [
            r"uniformer_xxs\d*_(\d+x)?\d+_(in1k|k400)",
            r"(mask_rcnn_1x|fpn|mask_rcnn_uniformer|semantic_fpn_uniformer)_xxs",
        ]
    ),
}
"""What the files are called: by the authors, in mmaction2 and mmpose, and in the zoo."""

ADDED = re.compile(r"([-_]\d{8})?-[0-9a-f]{8}(_\d{8})?$")
"""OpenMMLab's date and hash behind a name."""


def check_head_dim(checkpoint: str, head_dim: int | None) -> None:
    """Compare the size of an attention head with that of a published file.

    Published files are known by their names, those of which a hash is public by that too.

    Args:
        checkpoint: Whatever `locate` takes.
        head_dim: Of the model; None if it has no such thing.

    Raises:
        CheckpointError: They differ: shapes would fit and results be wrong.
    """
    if head_dim is None:
        return
    known = head_dim_of(Path(checkpoint).stem) or _head_dim_by_hash(checkpoint)
    if known is not None and known != head_dim:
        raise CheckpointError(
            f"{checkpoint} was trained with attention heads of {known} channels, the model has"
            f" {head_dim}: set head_dim={known} in the backbone. (All shapes fit, the results would"
            " be wrong.)"
        )


def head_dim_of(name: str) -> int | None:
    """Channels of an attention head in the file of a name without its suffix; None if unknown."""
    name = ADDED.sub("", name)
    return next((dim for dim, names in HEAD_DIMS.items() if re.fullmatch(names, name)), None)


def _head_dim_by_hash(checkpoint: str) -> int | None:
    try:
        path = locate(checkpoint)
    except CheckpointError:  # mmengine reads from more places than we do
        return None
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    for url in {model.weights for model in list_models() if model.weights}:
        if known_hash(url) and digest.hexdigest().startswith(known_hash(url)):
            return head_dim_of(Path(url).stem)
    return None
