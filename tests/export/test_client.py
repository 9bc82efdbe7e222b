"""The client of the docs gives the Inferencer's results; for detection see test_detector.py."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from uniformer_mm import Inferencer
from uniformer_mm.export.files import INPUT, as_onnx, metadata, write_onnx
from uniformer_mm.export.graph import Part, exportable, trace
from uniformer_mm.export.pictures import surround

pytestmark = [pytest.mark.stack, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
ARCH = {"_delete_": True, "depths": (1, 1, 1, 1), "embed_dims": (8, 8, 16, 16), "head_dim": 8}
SETTINGS = {
    "seg/semantic_fpn_uniformer_s_global": {
        "neck": {"in_channels": [8, 8, 16, 16], "out_channels": 8},
        "decode_head": {"in_channels": [8] * 4, "channels": 8},
    },
    "cls/uniformer_s_in1k": {"head": {"in_channels": 16}},
    "pose/td_hm_uniformer_s_256x192": {
        "head": {"in_channels": 16, "deconv_out_channels": (8, 8, 8)},
    },
    "video/uniformer_s_8x8_k400": {"cls_head": {"in_channels": 16}},
}


def make_inferencer(name):
    cfg = Config.fromfile(ROOT / "configs" / f"{name}.py")
    cfg.model.backbone.arch = {key: value for key, value in ARCH.items() if key != "_delete_"}
    cfg.merge_from_dict({"model": SETTINGS[name]})
    return Inferencer(cfg, random_weights=True, device="cpu", threshold=0.0)


def export(inferencer, path, preprocess):
    part = Part(inferencer.model, inferencer.task, masks="box").eval()
    sizes = part.sizes(inferencer.input_shape())
    steps = inferencer.task.inference_pipeline(inferencer.cfg)
    facts = metadata(part, sizes, inferencer.meta, "x.py", steps)
    program = trace(exportable(part, False), sizes)
    model = as_onnx(program, [INPUT], part.output_names(1), part.axes)
    if preprocess:
        model = surround(model, part, steps, "image")
    write_onnx(model, path, facts)


def picture(height, width, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("name", list(SETTINGS))
def test_results_are_those_of_the_inferencer(name, run_client, tmp_path):
    inferencer = make_inferencer(name)
    model, source = tmp_path / "x.onnx", tmp_path / "x.png"
    export(inferencer, model, preprocess=name.startswith(("seg", "cls")))
    if name.startswith("video"):
        source = source.with_suffix(".avi")
        writer = cv2.VideoWriter(str(source), cv2.VideoWriter_fourcc(*"FFV1"), 8, (96, 72))
        for index in range(90):
            writer.write(picture(72, 96, index // 9))
        writer.release()
    else:
        cv2.imwrite(str(source), picture(70, 101))
    results = run_client(model, source)
    expected = inferencer.predict(source)
    if name.startswith("seg"):
        assert results[0].shape == (70, 101)
        assert (results[0] != expected.labels).mean() < 1e-3
    elif name.startswith("pose"):
        assert np.abs(results[0] - expected.keypoints).max() < 1e-2
        assert np.abs(results[1] - expected.keypoint_scores).max() < 1e-4
    else:
        assert np.abs(results[0] - expected.scores).max() < 1e-4
