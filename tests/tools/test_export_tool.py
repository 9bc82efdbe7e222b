"""tools/export.py as a user calls it."""

import json
import re

import cv2
import numpy as np
import pytest
import torch
from running import ROOT, run_inside

pytestmark = [pytest.mark.stack, pytest.mark.slow]

SMALL = """
_base_ = "{root}/configs/{config}"
arch = dict(_delete_=True, depths=(1, 1, 1, 1), embed_dims=(8, 8, 16, 16), head_dim=8)
model = dict(backbone=dict(arch=arch), {head}=dict(in_channels={channels}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Configs of small models."""
    folder = tmp_path_factory.mktemp("export")
    for name, config, head, channels in (
        ("classifier", "cls/uniformer_s_in1k.py", "head", 16),
        ("video", "video/uniformer_s_8x8_k400.py", "cls_head", 16),
        ("detector", "det/mask_rcnn_uniformer_s.py", "neck", [8, 8, 16, 16]),
    ):
        text = SMALL.format(root=ROOT, config=config, head=head, channels=channels)
        (folder / f"{name}.py").write_text(text)
    return folder


def export(folder, name, *arguments):
    return run_inside("export.py", folder / f"{name}.py", "--random-weights", *arguments)


def test_a_clip_recognizer_is_exported_checked_and_timed(folder, capsys):
    out = folder / "video.pt2"
    options = ("--format", "torch", "--size", 48, 64, "--frames", 4, "--rounds", 1, "--fuse")
    assert export(folder, "video", *options, "--out", out) == 0
    printed = capsys.readouterr().out
    assert "inputs (batch, channels, frames, height, width) to logits" in printed
    assert re.search(r"1 x 3 x 4 x 48 x 64 +\d\.\de-\d\d", printed)
    for variant in ("eager", "fused", "exported"):
        assert re.search(rf"^{variant} +\d", printed, re.MULTILINE)
    files = {"metadata.json": ""}
    program = torch.export.load(out, extra_files=files)
    assert program.module()(torch.zeros(2, 3, 6, 64, 80))[0].shape == (2, 400)
    facts = json.loads(files["metadata.json"])
    assert json.loads(facts["mean"]) == [114.75] * 3
    assert json.loads(facts["sizes"]) == {"batch": 1, "frames": 4, "height": 48, "width": 64}
    assert len(json.loads(facts["classes"])) == 400


def test_a_detector_up_to_its_neck_for_one_size(folder, capsys):
    out = folder / "detector.pt2"
    options = ("--part", "neck", "--static", "--size", 64, 96, "--rounds", 0)
    assert export(folder, "detector", "--format", "torch", "--out", out, *options) == 0
    printed = capsys.readouterr().out
    assert printed.count(" standard deviations)") == 1
    shapes = [
        tuple(x.shape[1:]) for x in torch.export.load(out).module()(torch.zeros(1, 3, 64, 96))
    ]
    assert shapes == [(256, 64 // stride, 96 // stride) for stride in (4, 8, 16, 32)] + [
        (256, 1, 2)
    ]


def test_a_difference_has_exit_status_2(folder, capsys):
    options = ("--format", "torch", "--static", "--size", 32, 32, "--tolerance", "-1")
    assert export(folder, "classifier", *options, "--out", folder / "c.pt2") == 2
    assert "(1, 3, 32, 32)" in capsys.readouterr().err


def test_mistakes_have_a_message_and_leave_nothing(folder, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name, arguments, message in (
        ("detector", ("--preprocess", "--format", "torch"), "--preprocess"),
        ("detector", ("--preprocess", "--part", "neck"), "--preprocess"),
        ("detector", ("--data", "absent", "absent.json"), "absent"),
        ("classifier", ("--data", "x", "x.json"), "--data"),
        ("classifier", ("--frames", 4), "--frames"),
        ("classifier", ("--size", 16, 64), "at least 32, not 16"),
        ("classifier", ("--out", "x.pt2"), "x.pt2"),
        ("absent", (), "absent.py"),
    ):
        assert export(folder, name, *arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert message in error
    assert not list(tmp_path.iterdir())


def test_a_classifier_in_int8_beside_bf16(folder, capsys):
    cv2.imwrite(str(folder / "a.png"), np.full((64, 64, 3), 90, np.uint8))
    out = folder / "classifier.onnx"
    options = ("--int8", folder, "--size", 64, 64, "--rounds", 1, "--out", out)
    assert export(folder, "classifier", *options) == 0
    printed = capsys.readouterr().out
    assert f"{folder / 'classifier_int8.onnx'}: model in int8" in printed
    for variant in ("fp32", "int8"):
        assert re.search(rf"^{variant} +\d+\.\d +\d", printed, re.MULTILINE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--score"], "--score is for --int8 and a checkpoint"),
        (["--int8", "missing"], "missing"),
        (["--int8", ".", "--format", "torch"], "--int8 is for --format onnx"),
    ],
)
def test_options_of_quantization_are_checked_first(folder, capsys, options, message):
    assert export(folder, "classifier", *options) == 2
    assert message in capsys.readouterr().err
