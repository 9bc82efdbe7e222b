"""Reproducible weights and inputs, to compare outputs of a model with those of the official code.

Every tensor is a function of its name and shape, so that outputs of the official code can be stored
without its weights. `official_outputs.json` holds such outputs: a shape, the standard deviation, a
projection on a random vector, and samples at flat indices.
"""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from uniformer_mm.models import UniFormer, UniFormerLight

SHIPPED_CASES: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("official_outputs.json").read_text()
)
"""One of each kind: hybrid attention with padded windows, token shrinking, and video."""

GAINS = {"qkv.weight": 1.5, "pos_embed.weight": 0.3, "conv2.weight": 0.5, "mlp.fc2.weight": 0.5}
BACKBONES = {"UniFormer": UniFormer, "UniFormerLight": UniFormerLight}


def build(case: dict[str, Any]) -> UniFormer:
    """The backbone of a case in evaluation mode, with random weights."""
    return BACKBONES[case.get("class", "UniFormer")](**case["model"]).eval()


def tensor_for(name: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor of a name: normally distributed, scaled by the kind of parameter."""
    kind = name.rsplit(".", 1)[-1]
    if kind == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    generator = np.random.RandomState(zlib.crc32(name.encode()))
    normal = np.asarray(generator.standard_normal(shape)).astype(np.float32)
    if kind == "running_var":
        array = np.float32(1) + np.float32(0.1) * np.abs(normal)
    elif kind in ("running_mean", "cls_token"):
        array = np.float32(0.1) * normal
    elif kind.startswith("gamma_"):
        array = np.float32(0.5) + np.float32(0.1) * normal
    elif len(shape) <= 1 and kind == "weight":
        array = np.float32(1) + np.float32(0.1) * normal
    elif len(shape) <= 1:
        array = np.float32(0.05) * normal
    else:
        gain = next((gain for suffix, gain in GAINS.items() if name.endswith(suffix)), 1.0)
        array = normal * np.float32(gain / np.sqrt(np.prod(shape[1:], dtype=np.float64)))
    return torch.from_numpy(np.asarray(array))


def fill(model: nn.Module) -> None:
    """Set every tensor of a model to `tensor_for` its name."""
    model.load_state_dict({k: tensor_for(k, tuple(v.shape)) for k, v in model.state_dict().items()})


def input_for(case: dict[str, Any]) -> Tensor:
    """The input of a case."""
    generator = np.random.RandomState(case["input_seed"])
    return torch.from_numpy(generator.standard_normal(case["input_shape"]).astype(np.float32))


def outputs_of(model: UniFormer, case: dict[str, Any]) -> list[Tensor]:
    """Outputs of a backbone after `fill` on any device, in the form of the official model."""
    device = next(model.parameters()).device
    with torch.no_grad():
        features = model(input_for(case).to(device))
    if case["model"].get("class_token"):
        features, _ = features
    if case["heads"]:
        features = classify(case, features.cpu())
    features = (features,) if isinstance(features, Tensor) else features
    return [feature.cpu() for feature in features]


def classify(case: dict[str, Any], features: Tensor) -> Tensor:
    """The official classifier on the last feature map, with the token-labelling head if any."""
    head = {name: tensor_for(name, tuple(shape)) for name, shape in case["heads"].items()}
    tokens = features.flatten(2).transpose(1, 2)
    logits = tokens.mean(1) @ head["head.weight"].T + head["head.bias"]
    if "aux_head.weight" in head:
        per_token = tokens @ head["aux_head.weight"].T + head["aux_head.bias"]
        logits = logits + 0.5 * per_token.amax(1)
    return logits


def errors(output: Tensor, official: dict[str, Any]) -> tuple[float, float]:
    """Difference of an output from the official one.

    Returns:
        The largest error of a sample, relative to its size or to the standard deviation, whichever
        is larger; and that of the projection, relative to the standard deviation. Infinite if the
        shape differs or a number is not finite.
    """
    if list(output.shape) != official["shape"] or not output.isfinite().all():
        return float("inf"), float("inf")
    flat = output.detach().numpy().reshape(-1).astype(np.float64)
    samples = [
        abs(flat[index] - value) / max(abs(value), official["std"])
        for index, value in official["samples"]
    ]
    vector = np.random.RandomState(99).standard_normal(flat.size)
    projection = flat.dot(vector) / np.sqrt(flat.size)
    return float(max(samples)), float(abs(projection - official["proj"]) / official["std"])
