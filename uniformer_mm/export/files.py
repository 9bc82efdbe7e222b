"""Writing and running exported files."""

import json
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from uniformer_mm.errors import UserError
from uniformer_mm.export.graph import MIN_SIZES, Part
from uniformer_mm.writing import write_whole

SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}
"""File suffix by format."""

METADATA = "metadata.json"
"""Entry of a .pt2 file for what is in the metadata of an ONNX file."""

PACKAGES = ("onnx", "onnxscript", "onnxruntime")

INPUT = "inputs"
"""Name of the input."""

Run = Callable[[Tensor], Sequence[Tensor]]


def check_packages(format_: str) -> None:
    """Check that the packages for a format are installed.

    Raises:
        UserError: A package is missing.
    """
    missing = [name for name in PACKAGES if format_ == "onnx" and find_spec(name) is None]
    if missing:
        raise UserError(
            f"--format onnx needs {', '.join(missing)}: pip install 'uniformer-mm[export]'"
        )


def metadata(
    part: Part, sizes: Mapping[str, int], meta: Mapping[str, Any], config: str
) -> dict[str, str]:
    """Facts about inputs and outputs of a graph: text, or JSON of numbers and lists.

    Args:
        part: The exported part; the data preprocessor is not in the graph.
        sizes: Sizes of an example by axis.
        meta: The model's `dataset_meta`.
        config: File name of the model's config.
    """
    preprocessor = part.model.data_preprocessor
    facts: dict[str, Any] = {
        "config": Path(config).name,
        "channels": part.task.channel_order(preprocessor),
        "sizes": {name: size for name, size in sizes.items() if name in MIN_SIZES},
    }
    for name in ("mean", "std"):
        values = getattr(preprocessor, name, None)
        if values is not None:
            facts[name] = [round(value, 4) for value in values.flatten().tolist()]
    if meta.get("classes"):
        facts["classes"] = list(meta["classes"])
    return {
        name: fact if isinstance(fact, str) else json.dumps(fact) for name, fact in facts.items()
    }


def write(
    program: ExportedProgram,
    path: Path,
    axes: Sequence[str],
    output_names: Sequence[str],
    facts: Mapping[str, str],
) -> None:
    """Write a graph in the format of the file's suffix.

    Args:
        program: The graph.
        path: The file.
        axes: Names of the input's axes.
        output_names: One per output.
        facts: Metadata.

    Raises:
        UserError: The file cannot be written.
    """
    if path.suffix == SUFFIXES["torch"]:
        buffer = BytesIO()
        torch.export.save(program, buffer, extra_files={METADATA: json.dumps(dict(facts))})
        content = buffer.getvalue()
    else:
        content = _as_onnx(program, axes, output_names, facts)
    write_whole(path, content)


def runner(path: Path) -> Run:
    """A function that runs a file on the CPU, with the number of threads of torch."""
    if path.suffix == SUFFIXES["torch"]:
        module = torch.export.load(path).module()

        def run_torch(x: Tensor) -> Sequence[Tensor]:
            with torch.no_grad():
                return module(x)

        return run_torch
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Threads that spin after a call would slow down the next code in this process.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run_onnx(x: Tensor) -> Sequence[Tensor]:
        return [torch.from_numpy(output) for output in session.run(None, {INPUT: x.numpy()})]

    return run_onnx


def _as_onnx(
    program: ExportedProgram,
    axes: Sequence[str],
    output_names: Sequence[str],
    facts: Mapping[str, str],
) -> bytes:
    with warnings.catch_warnings():
        # torch itself calls what it warns about.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
        converted = torch.onnx.export(
            program, input_names=[INPUT], output_names=output_names, dynamo=True, verbose=False
        )
    assert converted is not None
    model = converted.model_proto
    # torch names the sizes s0, s53 ...: those of the input get the names of its axes.
    (entry,) = (value for value in model.graph.input if value.name == INPUT)
    symbols = {
        size.dim_param: name
        for name, size in zip(axes, entry.type.tensor_type.shape.dim, strict=True)
        if name in MIN_SIZES and size.dim_param
    }
    _rename_sizes(model.graph, symbols)
    for name, fact in facts.items():
        model.metadata_props.add(key=name, value=fact)
    return model.SerializeToString()


def _rename_sizes(graph: Any, names: Mapping[str, str]) -> None:
    """Replace names of sizes, alone and in expressions such as s0 // 4."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_param = re.sub(
                    r"\w+", lambda word: names.get(word[0], word[0]), size.dim_param
                )
