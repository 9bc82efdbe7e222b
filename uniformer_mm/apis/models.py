"""From a config and a checkpoint to a model that predicts."""

from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from uniformer_mm.apis.dataset_meta import checkpoint_meta
from uniformer_mm.apis.launch import building, load_config, replace_sync_batch_norm
from uniformer_mm.checkpoints import locate, read_checkpoint
from uniformer_mm.checkpoints.load import load_whole
from uniformer_mm.checkpoints.zoo import MIM, find_model
from uniformer_mm.errors import CheckpointError


def get_model(name: str, pretrained: bool | str = False, **backbone: Any) -> nn.Module:
    """Build a published model, with weights or without.

    Args:
        name: Name of a model of the zoo.
        pretrained: True downloads the published weights, where there are public ones; a string is
            a path, a URL or `hf://OWNER/REPOSITORY/FILE`.
        **backbone: Options of the backbone that differ from the config's, e.g. `attention`.

    Returns:
        The whole model of its codebase, in evaluation mode, with `cfg` and `dataset_meta`: what
        `inference_detector` and its sisters in the other codebases take. Its `data_preprocessor`
        takes images as BGR and videos as RGB, and brings them into the model's own order of
        channels: RGB, but BGR in models of Something-Something and HMDB51. Whoever calls
        `model.backbone` by hand has to give that order, normalised.

    Raises:
        UserError: There is no such model, or its codebase is not installed.
        CheckpointError: The weights cannot be had, or do not fit.
    """
    cfg = load_config(str(MIM / find_model(name).config))
    cfg.model.backbone.update(backbone)
    return load_model(cfg, name if pretrained is True else pretrained or None)


def load_model(cfg: Config, checkpoint: str | Path | None) -> nn.Module:
    """Build the model of a config, and load its weights.

    Args:
        cfg: Changed in place: the backbone's own weights are not downloaded, and SyncBN becomes BN,
            which is the same in evaluation and runs everywhere.
        checkpoint: What `locate` takes; None for random weights.

    Returns:
        The model in evaluation mode, with `cfg` and `dataset_meta`: what `inference_detector` and
        its sisters in the other codebases take.

    Raises:
        UserError: The model cannot be built.
        CheckpointError: The weights cannot be had, or do not fit.
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
        content = read_checkpoint(str(path))
        try:
            state, report = load_whole(model, content, str(path))
        except CheckpointError as error:
            raise CheckpointError(f"{error}{_config_beside(path)}") from error
        model.load_state_dict(state, strict=False)
        print_log(str(report), logger="current")
    model.cfg = model._config = cfg
    model.dataset_meta = model._dataset_meta = checkpoint_meta(cfg, content, path)
    return model.eval()


def _config_beside(checkpoint: Path) -> str:
    """Advice to take the config that a training leaves beside its checkpoints."""
    configs = list(checkpoint.resolve().parent.glob("*.py"))
    return f". Beside it is the config {configs[0]}" if len(configs) == 1 else ""
