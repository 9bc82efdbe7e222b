"""The published models: what the metafiles beside the configs say, in OpenMMLab's format."""

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mmengine.fileio import load
from mmengine.logging import print_log
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from uniformer_mm.errors import UserError

MIM = Path(__file__).resolve().parent / ".mim"
"""Where an installation has the configs, the tools and the model index (see setup.py)."""


@dataclass(frozen=True)
class ZooModel:
    """One published model.

    Attributes:
        name: Stem of the config's file name.
        config: Config file, relative to the root of the repository.
        task: Folder of the config: det, seg, pose, video or cls.
        data: Training data.
        backbone: Arch and attention in a few words.
        schedule: Length of the training in a few words.
        batch_size: Samples per iteration on all devices.
        parameters: Exact number of parameters of the whole model.
        flops: Multiply-adds as published, None where nothing was.
        flops_input: The input they were published for.
        metrics: Quality as published by the authors, by name of the metric; may be empty.
        weights: Direct download, None where the authors have none.
    """

    name: str
    config: str
    task: str
    data: str
    backbone: str
    schedule: str
    batch_size: int
    parameters: int
    flops: int | None
    flops_input: str | None
    metrics: dict[str, float]
    weights: str | None


def list_models(root: Path = MIM) -> list[ZooModel]:
    """Every model of the metafiles that `model-index.yml` in `root` lists, in their order."""
    models = []
    for metafile in load(root / "model-index.yml")["Import"]:
        models += [_read(entry) for entry in load(root / metafile)["Models"]]
    return models


def get_model(name: str, pretrained: bool | str = False, **backbone: Any) -> nn.Module:
    """Build a published model, with weights or without.

    Args:
        name: Name of a model of the zoo.
        pretrained: True downloads the published weights, where there are public ones; a string is
            a path, a URL or `hf://OWNER/REPOSITORY/FILE`.
        **backbone: Options of the backbone that differ from the config's, e.g. `attention`.

    Returns:
        The whole model of its codebase, in evaluation mode.

    Raises:
        UserError: There is no such model, or its codebase is not installed.
        CheckpointError: The weights cannot be had, or do not fit.
    """
    from uniformer_mm.apis.launch import load_config
    from uniformer_mm.checkpoints.converting import load_whole

    models = {model.name: model for model in list_models()}
    if name not in models:
        similar = ", ".join(get_close_matches(name, models, n=3)) or "list_models() has all"
        raise UserError(f"no model {name!r} in the zoo; {similar}")
    cfg = load_config(str(MIM / models[name].config))
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.update(init_cfg=None, **backbone)
    model = MODELS.build(cfg.model)
    if pretrained:
        state, report = load_whole(model, name if pretrained is True else pretrained)
        model.load_state_dict(state, strict=False)
        print_log(str(report), logger="current")
    return model.eval()


def _read(entry: dict[str, Any]) -> ZooModel:
    metadata = entry["Metadata"]
    metrics = {}
    for result in entry.get("Results", []):
        metrics.update(result["Metrics"])
    return ZooModel(
        name=entry["Name"],
        config=entry["Config"],
        task=Path(entry["Config"]).parent.name,
        data=metadata["Training Data"],
        backbone=metadata["Backbone"],
        schedule=metadata["Schedule"],
        batch_size=metadata["Batch Size"],
        parameters=metadata["Parameters"],
        flops=metadata.get("FLOPs"),
        flops_input=metadata.get("FLOPs Input"),
        metrics=metrics,
        weights=entry.get("Weights"),
    )


def table(models: list[ZooModel]) -> str:
    """A Markdown table of models of one task; what is the same for all of them is left out."""
    metrics = dict.fromkeys(name for model in models for name in model.metrics)
    columns = {
        "config": [f"[{model.name}]({model.config})" for model in models],
        "data": [model.data for model in models],
        "backbone": [model.backbone for model in models],
        "schedule": [model.schedule for model in models],
        "batch": [str(model.batch_size) for model in models],
        **{name: [str(model.metrics.get(name, "")) for model in models] for name in metrics},
        "parameters": [f"{model.parameters / 1e6:.1f} M" for model in models],
        "multiply-adds": [_gigas(model.flops) for model in models],
        "of an input": [model.flops_input or "" for model in models],
        "weights": [f"[file]({model.weights})" if model.weights else "" for model in models],
    }
    for name in ("data", "schedule", "batch", "weights"):
        if len(set(columns[name])) == 1:
            del columns[name]
    lines = [columns, ["---"] * len(columns), *zip(*columns.values(), strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _gigas(count: int | None) -> str:
    """A count as 0.43 G or 269 G; nothing for None."""
    if count is None:
        return ""
    return f"{count / 1e9:.3g} G" if count < 1e12 else f"{count / 1e9:.0f} G"
