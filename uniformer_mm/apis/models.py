"""Build models from configs and load their checkpoints."""

from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from uniformer_mm.apis.config import load_config, replace_sync_batch_norm
from uniformer_mm.apis.dataset_meta import checkpoint_meta
from uniformer_mm.apis.diagnosis import building
from uniformer_mm.checkpoints.download import locate
from uniformer_mm.checkpoints.io import read_file
from uniformer_mm.checkpoints.load import load_whole
from uniformer_mm.checkpoints.zoo import MIM, find_model
from uniformer_mm.errors import CheckpointError


def get_model(name: str, pretrained: bool | str = False, **backbone: Any) -> nn.Module:
    """Build a published model, with or without its weights.

    Args:
        name: Name of a model of the zoo.
        pretrained: True downloads the published weights, where they are public; a string is a path,
            a URL or `hf://OWNER/REPOSITORY[@REVISION]/FILE`.
        **backbone: Options of the backbone that differ from the config's, e.g. `attention`.

    Returns:
        The whole model as from `load_model`. Its `data_preprocessor` takes images as BGR and videos
        as RGB, and converts them to the channel order of the model: RGB, but BGR in models of
        Something-Something and HMDB51. To call `model.backbone` directly, give it normalized inputs
        in that order.

    Raises:
        UserError: There is no such model, or its codebase is not installed.
        CheckpointError: The weights cannot be downloaded, or do not fit.
    """
    cfg = load_config(MIM / find_model(name).config)
    cfg.model.backbone.update(backbone)
    return load_model(cfg, name if pretrained is True else pretrained or None)


def load_model(cfg: Config, checkpoint: str | Path | None) -> nn.Module:
    """Build the model of a config and load its weights.

    Args:
        cfg: Changed in place: the backbone's pretrained weights are not downloaded, and SyncBN
            becomes BN, which is the same in evaluation and runs on any device.
        checkpoint: As for `locate`; None for random weights.

    Returns:
        The model in evaluation mode, with `cfg` and `dataset_meta` as `inference_detector` and the
        corresponding functions of the other codebases expect it.

    Raises:
        UserError: The model cannot be built.
        CheckpointError: The weights cannot be downloaded, or do not fit.
    """
    path = Path() if checkpoint is None else locate(str(checkpoint))
    for name in ("init_cfg", "pretrained"):
        if name in cfg.model.backbone:
            cfg.model.backbone[name] = None
    # mmpretrain's configs have it outside of the model, where a Runner would find it.
    cfg.model.setdefault("data_preprocessor", cfg.get("data_preprocessor"))
    replace_sync_batch_norm(cfg.model)
    with building(), DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
    content: Any = None
    if checkpoint is not None:
        content = read_file(path)
        try:
            state, report = load_whole(model, content, path)
        except CheckpointError as error:
            # A training leaves its config next to its checkpoints.
            configs = list(path.resolve().parent.glob("*.py"))
            hint = f". In its folder is the config {configs[0]}" if len(configs) == 1 else ""
            raise CheckpointError(f"{error}{hint}") from error
        model.load_state_dict(state, strict=False)
        print_log(str(report), logger="current")
    model.cfg = model._config = cfg
    model.dataset_meta = model._dataset_meta = checkpoint_meta(cfg, content, path)
    return model.eval()
