"""What a model's parts do with each other's outputs, where PyTorch's errors do not tell."""

import re
from traceback import walk_tb
from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from uniformer_mm.models import UniFormer

UNUSED = "Expected to have finished reduction in the prior iteration"
"""How DistributedDataParallel begins when parameters got no gradient."""

OUTPUT_NORM = re.compile(r"(?:.+\.)?norm([1-4])\.(?:weight|bias)")
"""Parameters of a backbone's output, and the stage from 1."""

TOO_FEW = "selected index k out of range"
"""What `topk` says of fewer values than are asked for."""


def model_fault(error: BaseException) -> str:
    """Why the parts of a model do not work together, and the remedy; empty for other errors."""
    if not isinstance(error, RuntimeError):
        return ""
    text = str(error)
    if text.startswith(UNUSED):
        return _unused_parameters(error, text)
    return _too_few_tokens(error) if TOO_FEW in text else ""


def _unused_parameters(error: BaseException, text: str) -> str:
    wrapper = _found(error, lambda values: isinstance(values.get("self"), DistributedDataParallel))
    model: nn.Module = wrapper["self"].module if wrapper else nn.Module()
    trained = [name for name, weights in model.named_parameters() if weights.requires_grad]
    found = re.search(r"did not receive grad for rank \d+: ([\d ]+)", text)
    unused = [trained[int(index)] for index in found[1].split()] if found and trained else []
    outputs = {int(match[1]) - 1 for name in unused if (match := OUTPUT_NORM.fullmatch(name))}
    backbone = next((m for m in model.modules() if isinstance(m, UniFormer)), None)
    named = f", {', '.join(unused[:4])}{', ...' if len(unused) > 4 else ''}," if unused else ""
    message = f"the loss does not depend on some of the model's parameters{named} for whose"
    message += " gradients the other processes wait"
    if outputs and backbone is not None:
        used = tuple(index for index in backbone.out_indices if index not in outputs)
        widths = [backbone.embed_dims[index] for index in used]
        message += (
            f": no head uses output {' and '.join(map(str, sorted(outputs)))} of the backbone. Set"
            f" model.backbone.out_indices={used} and count only these outputs in what follows: a"
            f" neck's in_channels={widths} with start_level=0, a head's in_index from 0"
        )
        if len(outputs) * 2 == len(unused):
            return f"{message}."
    return (
        f"{message}. Leave out of the model what no loss needs, or set find_unused_parameters=True"
        " in the config, which makes every iteration slower."
    )


def _too_few_tokens(error: BaseException) -> str:
    values = _found(error, lambda values: "max_per_img" in values and "cls_score" in values)
    if values:
        queries, classes = values["cls_score"].shape[-2:]
        return (
            f"model.test_cfg.max_per_img is {values['max_per_img']}, but a model of {queries}"
            f" queries and {classes} classes has {queries * classes} scores: lower it to that."
        )
    values = _found(error, lambda values: "enc_outputs_class" in values and "self" in values)
    queries = getattr(values["self"], "num_queries", None) if values else None
    if values is None or queries is None:
        return ""
    tokens = values["enc_outputs_class"].shape[1]
    return (
        f"{type(values['self']).__name__} chooses its {queries} queries among the tokens of its"
        f" feature maps, but these images have {tokens} tokens only. Train and test on larger"
        f" images (the scale of Resize in the pipelines), or set model.num_queries and"
        f" model.test_cfg.max_per_img to {tokens} or less."
    )


def _found(error: BaseException, wanted: Any) -> dict[str, Any] | None:
    """Local variables of the innermost call in an error's traceback that has what is wanted."""
    frames = [frame.f_locals for frame, _ in walk_tb(error.__traceback__) if wanted(frame.f_locals)]
    return frames[-1] if frames else None
