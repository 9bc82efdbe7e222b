"""The published models: what the metafiles beside the configs say, in OpenMMLab's format."""

import functools
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mmengine.fileio import load

from uniformer_mm.errors import UserError

PACKAGE = Path(__file__).resolve().parents[1]

MIM = PACKAGE / ".mim" if (PACKAGE / ".mim").is_dir() else PACKAGE.parent
"""Where the configs, the tools and the model index are: in an installation (see setup.py), or in
the repository."""


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
        weights: Direct download, None where there is no public one.
        weights_size: Its bytes, None where they are not known.
        weights_sha256: Its hash, None where nobody has published it.
        weights_page: Page of the authors from which it can be had by hand, None without one.
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
    weights_size: int | None
    weights_sha256: str | None
    weights_page: str | None


def list_models(root: Path = MIM) -> list[ZooModel]:
    """Every model of the metafiles that `model-index.yml` in `root` lists, in their order."""
    models = []
    for metafile in load(root / "model-index.yml")["Import"]:
        models += [_read(entry) for entry in load(root / metafile)["Models"]]
    return models


def find_model(name: str) -> ZooModel:
    """The model of that name.

    Raises:
        UserError: There is none.
    """
    models = {model.name: model for model in list_models()}
    if name not in models:
        similar = ", ".join(get_close_matches(name, models, n=3)) or "list_models() has all"
        raise UserError(f"no model {name!r} in the zoo; {similar}")
    return models[name]


@functools.cache
def published_file(url: str) -> ZooModel | None:
    """The first model whose weights are the file of that URL."""
    return next((model for model in list_models() if model.weights == url), None)


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
        weights_size=entry.get("Weights Size"),
        weights_sha256=entry.get("Weights SHA-256"),
        weights_page=entry.get("Weights Page"),
    )


def table(models: list[ZooModel]) -> str:
    """A Markdown table of models of one task, without columns whose cells are all the same."""
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
    """Where the weights are, as a cell of a table."""
    if model.weights:
        size = f" ({model.weights_size / 1e6:.0f} MB)" if model.weights_size else ""
        return f"[file]({model.weights}){size}"
    if not model.metrics:
        return "not trained"
    return f"[authors' page]({model.weights_page})" if model.weights_page else "not public"


def _gigas(count: int | None) -> str:
    """A count as 0.43 G or 269 G; nothing for None."""
    if count is None:
        return ""
    return f"{count / 1e9:.3g} G" if count < 1e12 else f"{count / 1e9:.0f} G"
