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
from uniformer_mm.tasks.task import step_name
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
    part: Part,
    sizes: Mapping[str, int],
    meta: Mapping[str, Any],
    config: str,
    steps: Sequence[Mapping[str, Any]] = (),
) -> dict[str, str]:
    """Facts about inputs and outputs of a graph: text, or JSON of numbers and lists.

    Args:
        part: The exported part; the data preprocessor is not in the graph.
        sizes: Sizes of an example by axis.
        meta: The model's `dataset_meta`.
        config: File name of the model's config.
        steps: The test pipeline after loading.
    """
    preprocessor = part.model.data_preprocessor
    facts: dict[str, Any] = {
        "config": Path(config).name,
        "task": part.task.extra,
        "channels": part.task.channel_order(preprocessor),
        "sizes": {name: size for name, size in sizes.items() if name in MIN_SIZES},
        "pipeline": [
            dict(step) for step in steps if not step_name(step).startswith(("Pack", "Load"))
        ],
    }
    for name in ("mean", "std"):
        values = getattr(preprocessor, name, None)
        if values is not None:
            facts[name] = [round(value, 4) for value in values.flatten().tolist()]
    if part.detector:
        facts["masks"] = part.detector.masks
        facts["mask_threshold"] = part.model.roi_head.test_cfg.get("mask_thr_binary")
    if part.task.scope == "mmpose":
        facts["flip_test"] = bool(part.model.test_cfg.get("flip_test"))
        facts["shift_heatmap"] = bool(part.model.test_cfg.get("shift_heatmap"))
        facts["flip_indices"] = [int(index) for index in meta.get("flip_indices", ())]
    if meta.get("classes"):
        facts["classes"] = list(meta["classes"])
    return {
        name: fact if isinstance(fact, str) else json.dumps(fact, default=str)
        for name, fact in facts.items()
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
        write_whole(path, buffer.getvalue())
    else:
        write_onnx(as_onnx(program, [INPUT], output_names, axes), path, facts)


def runners(path: Path) -> dict[str, Run]:
    """Functions that run a file on the CPU by the installed runtime, with torch's threads."""
    if path.suffix == SUFFIXES["torch"]:
        return {"exported": runner(path)}
    found = {"onnxruntime": runner(path)}
    if find_spec("openvino") is not None:
        found["openvino"] = _openvino(path)
    return found


def runner(path: Path) -> Run:
    """A function that runs a .pt2 file in torch, or an ONNX file in onnxruntime."""
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
    name = session.get_inputs()[0].name

    def run_onnx(x: Tensor) -> Sequence[Tensor]:
        return [torch.from_numpy(output) for output in session.run(None, {name: x.numpy()})]

    return run_onnx


def _openvino(path: Path) -> Run:
    import openvino

    core = openvino.Core()
    # By default OpenVINO takes bfloat16 where the CPU is fast in it.
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = core.compile_model(path, "CPU", options)

    def run_openvino(x: Tensor) -> Sequence[Tensor]:
        results = compiled(x.numpy())
        return [torch.from_numpy(results[output]) for output in compiled.outputs]

    return run_openvino


def as_onnx(
    program: ExportedProgram,
    input_names: Sequence[str],
    output_names: Sequence[str],
    axes: Sequence[str],
) -> Any:
    """A graph as an ONNX model; `axes` names those of the first input."""
    with warnings.catch_warnings():
        # torch and torchvision themselves call what they warn about.
        for called in (r"`isinstance\(treespec, LeafSpec\)`", "`create_unbacked_symint`"):
            warnings.filterwarnings("ignore", called, FutureWarning)
        converted = torch.onnx.export(
            program,
            input_names=input_names,
            output_names=output_names,
            dynamo=True,
            verbose=False,
        )
    assert converted is not None
    model = converted.model_proto
    # torch names the sizes s0, s53 ...: those of the input get the names of its axes.
    entry = model.graph.input[0]
    symbols = {
        size.dim_param: name
        for name, size in zip(axes, entry.type.tensor_type.shape.dim, strict=True)
        if name in MIN_SIZES and size.dim_param
    }
    _rename_sizes(model.graph, symbols)
    return model


def join(models: Sequence[Any], outputs: Mapping[str, str]) -> Any:
    """One ONNX model of several, the inputs of which are outputs of earlier ones by name.

    Args:
        models: In the order of computation. Inputs that no model makes are those of the result. No
            model has an input and an output of the same name.
        outputs: Outputs to keep, and their names in the result.
    """
    import onnx

    joined = onnx.ModelProto()
    joined.CopyFrom(models[0])
    for field in ("node", "initializer", "input", "output", "value_info"):
        joined.graph.ClearField(field)
    known: dict[str, str] = {}
    made: dict[str, Any] = {}
    for index, part in enumerate(models):
        prefix = f"part{index}/"
        graph = onnx.compose.add_prefix(part, prefix).graph
        links = {}
        for value in graph.input:
            name = value.name.removeprefix(prefix)
            if name not in known:
                known[name] = name
                joined.graph.input.append(value)
                joined.graph.input[-1].name = name
            links[value.name] = known[name]
        for node in graph.node:
            node.input[:] = [links.get(name, name) for name in node.input]
        joined.graph.node.extend(graph.node)
        joined.graph.initializer.extend(graph.initializer)
        for value in graph.output:
            name = value.name.removeprefix(prefix)
            known[name], made[name] = value.name, value
    final = {known[name]: public for name, public in outputs.items()}
    for node in joined.graph.node:
        node.input[:] = [final.get(name, name) for name in node.input]
        node.output[:] = [final.get(name, name) for name in node.output]
    for name, public in outputs.items():
        joined.graph.output.append(made[name])
        joined.graph.output[-1].name = public
    return joined


def write_onnx(model: Any, path: Path, facts: Mapping[str, str]) -> None:
    """Write an ONNX model with metadata.

    Raises:
        UserError: The file cannot be written.
    """
    for name, fact in facts.items():
        model.metadata_props.add(key=name, value=fact)
    write_whole(path, model.SerializeToString())


def _rename_sizes(graph: Any, names: Mapping[str, str]) -> None:
    """Replace names of sizes, alone and in expressions such as s0 // 4."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_param = re.sub(
                    r"\w+", lambda word: names.get(word[0], word[0]), size.dim_param
                )
