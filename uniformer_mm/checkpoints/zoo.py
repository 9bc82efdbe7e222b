"""Published models, as the metafiles next to the configs describe them in OpenMMLab's format."""

import functools
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mmengine.fileio import load

from uniformer_mm.errors import UserError

PACKAGE = Path(__file__).resolve().parents[1]

MIM = PACKAGE / ".mim" if (PACKAGE / ".mim").is_dir() else PACKAGE.parent
"""Folder of configs, tools and model index: in an installation (see setup.py), or the
repository."""


@dataclass(frozen=True)
class ZooModel:
    """A published model."""

    name: str  # stem of the config's file name
    config: str  # relative to the root of the repository
    task: str  # folder of the config: det, seg, pose, video or cls
    data: str  # training data
    backbone: str  # arch and attention in a few words
    schedule: str  # length of the training in a few words
    batch_size: int  # samples per iteration on all devices
    parameters: int  # of the whole model
    flops: int | None  # published multiply-adds
    flops_input: str | None  # input size that they were published for
    metrics: dict[str, float]  # published scores by name of the metric
    weights: str | None  # URL of the weights, None without a public direct download
    weights_size: int | None  # bytes of their file
    weights_sha256: str | None
    weights_page: str | None  # page of the authors to download the weights by hand


def list_models(root: Path = MIM) -> list[ZooModel]:
    """List the models of the metafiles that `model-index.yml` in `root` names, in their order."""
    models = []
    for metafile in load(root / "model-index.yml")["Import"]:
        models += [_read(entry) for entry in load(root / metafile)["Models"]]
    return models


def find_model(name: str) -> ZooModel:
    """Find a model by its name.

    Raises:
        UserError: There is no such model.
    """
    models = {model.name: model for model in list_models()}
    if name not in models:
        similar = ", ".join(get_close_matches(name, models, n=3)) or "see list_models()"
        raise UserError(f"no model {name!r} in the zoo; {similar}")
    return models[name]


@functools.cache
def published_file(url: str) -> ZooModel | None:
    """First model whose weights are the file of a URL."""
    return next((model for model in list_models() if model.weights == url), None)


def _read(entry: dict[str, Any]) -> ZooModel:
    metadata = entry["Metadata"]
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
        metrics={k: v for result in entry.get("Results", ()) for k, v in result["Metrics"].items()},
        weights=entry.get("Weights"),
        weights_size=entry.get("Weights Size"),
        weights_sha256=entry.get("Weights SHA-256"),
        weights_page=entry.get("Weights Page"),
    )


def table(models: list[ZooModel]) -> str:
    """Format models of one task as a Markdown table, without columns of a single value."""
    metrics = dict.fromkeys(name for model in models for name in model.metrics)
    columns = {
        "config": [f"[{model.name}]({Path(model.config).name})" for model in models],
        "data": [model.data for model in models],
        "backbone": [model.backbone for model in models],
        "schedule": [model.schedule for model in models],
        "batch": [str(model.batch_size) for model in models],
        **{name: [str(model.metrics.get(name, "")) for model in models] for name in metrics},
        "parameters": [f"{model.parameters / 1e6:.1f} M" for model in models],
        "multiply-adds": [_gigas(model.flops) for model in models],
        "input size": [model.flops_input or "" for model in models],
        "weights": [_weights(model) for model in models],
    }
    for name in ("data", "schedule", "batch", "weights"):
        if len(set(columns[name])) == 1:
            del columns[name]
    lines = [columns, ["---"] * len(columns), *zip(*columns.values(), strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _weights(model: ZooModel) -> str:
    if model.weights:
        size = f" ({model.weights_size / 1e6:.0f} MB)" if model.weights_size else ""
        return f"[file]({model.weights}){size}"
    if not model.metrics:
        return "not trained"
    return f"[authors' page]({model.weights_page})" if model.weights_page else "not public"


def _gigas(count: int | None) -> str:
    if count is None:
        return ""
    return f"{count / 1e9:.3g} G" if count < 1e12 else f"{count / 1e9:.0f} G"
