"""Static int8 quantization of ONNX files by onnxruntime, and their scores inside of a model.

Quantized are the weights and inputs of linear layers and dense convolutions. Depthwise convolutions
stay in fp32: the residual connection is folded into those of fused position embeddings, and eight
bits are too few for it. So do products of attention, norms, softmax and GELU.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor, nn

from uniformer_mm.apis.inference import Inferencer
from uniformer_mm.datasets.media import ImageFile
from uniformer_mm.errors import UserError
from uniformer_mm.export.files import INPUT, Run

MAX_IMAGES = 32
"""Images of a folder that are used for calibration."""

MAX_LOSS = 0.01
"""Accepted loss of a score, relative."""

HEADS = ("decode_head", "head", "cls_head")
"""Names of the last module of segmenters, pose estimators and classifiers, and recognizers."""


def quantize(source: Path, target: Path, inputs: Iterable[Tensor]) -> None:
    """Write an int8 version of an ONNX file of a fused model.

    Args:
        source: File in fp32.
        target: File to write; it takes and returns fp32, as the source.
        inputs: Normalized inputs, from which the ranges of activations are taken.

    Raises:
        UserError: There are no inputs.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    logging.getLogger("onnxruntime.quantization").setLevel(logging.ERROR)
    with TemporaryDirectory() as folder:
        prepared = Path(folder, "prepared.onnx")
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        model = onnx.load(prepared)
        # An input range per tensor: symmetric weights per output channel, as VNNI multiplies them.
        quantize_static(
            model,
            target,
            _Calibration(inputs),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["MatMul", "Gemm", "Conv"],
            nodes_to_exclude=_kept_in_fp32(model),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]},
        )
    _copy_metadata(source, target)


class _Calibration:
    """A `CalibrationDataReader`."""

    def __init__(self, inputs: Iterable[Tensor]) -> None:
        self._inputs = iter(inputs)
        self.count = 0

    def get_next(self) -> dict[str, Any] | None:
        """Return the next input, None after the last."""
        x = next(self._inputs, None)
        if x is None:
            if not self.count:
                raise UserError("--int8: there are no images for the calibration")
            return None
        self.count += 1
        return {INPUT: x.numpy()}


def _kept_in_fp32(model: Any) -> list[str]:
    """Names of the convolutions with groups, and of the products of two activations."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)
        or (node.op_type == "MatMul" and node.input[1] not in weights)
    ]


def _copy_metadata(source: Path, target: Path) -> None:
    import onnx

    original, model = onnx.load(source, load_external_data=False), onnx.load(target)
    known = {entry.key for entry in model.metadata_props}
    model.metadata_props.extend(e for e in original.metadata_props if e.key not in known)
    onnx.save(model, target)


def substitute(model: Any, part: str, run: Run) -> None:
    """Let a file compute a part of a model, in place.

    Everything else stays: the data preprocessor, heads that are not in the part, post-processing.

    Args:
        model: A model of any task.
        part: 'backbone', 'neck' (with the backbone) or 'model' (with the head).
        run: From `uniformer_mm.export.files.runner`.
    """
    if part == "model":
        head = next(getattr(model, name) for name in HEADS if hasattr(model, name))
        head.forward = lambda features, *_: _single(run(features[0]))
        model.backbone = _Function(lambda x: (x,))
    else:
        model.backbone = _Function(lambda x: tuple(run(x)))
    if part != "backbone" and getattr(model, "with_neck", False):
        model.neck = nn.Identity()


class _Function(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        """Call the function."""
        return self.function(x)


def _single(outputs: Sequence[Tensor]) -> Tensor:
    (output,) = outputs
    return output


def calibration_inputs(inferencer: Inferencer, folder: Path) -> Iterator[Tensor]:
    """Yield normalized inputs of a model for evenly spaced images of a folder.

    Args:
        inferencer: Has the model and its test pipeline.
        folder: Searched recursively.

    Raises:
        UserError: There is no such folder, or nothing in it.
    """
    sources = [source for source in inferencer.find([folder]) if isinstance(source, ImageFile)]
    step = max(len(sources) // MAX_IMAGES, 1)
    for source in sources[::step][:MAX_IMAGES]:
        yield inferencer.inputs(source.path)
