"""tools/convert_checkpoint.py as a user calls it."""

import os

import pytest
import torch
from running import ROOT, run_inside

from uniformer_mm.apis.models import get_model

pytestmark = pytest.mark.stack

CONFIG = ROOT / "configs" / "cls" / "uniformer_xxs_128_in1k.py"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A training's checkpoint."""
    path = tmp_path_factory.mktemp("convert") / "epoch_1.pth"
    state = get_model(CONFIG.stem).state_dict()
    torch.save({"state_dict": state, "optimizer": {"state": {0: torch.ones(1)}}}, path)
    return path


def test_there_and_back(weights, tmp_path, capsys):
    def convert(*arguments):
        assert run_inside("convert_checkpoint.py", CONFIG, *arguments, "--out-dir", tmp_path) == 0
        return capsys.readouterr().out.rsplit("the converted checkpoint is ", 1)[1].split(" (")[0]

    official = convert(weights, "--to", "official")
    assert set(torch.load(official)) == {"model", "meta"}
    slim = convert(official)
    assert set(torch.load(slim)) == {"meta", "state_dict"}
    assert convert(slim, "--to", "official") == official
    assert sorted(os.listdir(tmp_path)) == sorted(map(os.path.basename, (official, slim)))
    assert convert(slim, "--safetensors").endswith(".safetensors")


class Malicious:
    def __reduce__(self):
        return os.system, ("touch ran",)


def test_errors_name_the_file_or_value_and_leave_nothing(weights, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"a": torch.ones(1)}, "code": Malicious()}, "evil.pth")
    other = str(CONFIG).replace("xxs_128", "s")
    for arguments, *facts in (
        ((CONFIG, "evil.pth"), "evil.pth", "posix.system"),
        ((CONFIG, "absent.pth"), "absent.pth"),
        (("absent.py", weights), "absent.py"),
        ((other, weights), "epoch_1.pth"),
        ((CONFIG, weights, "--cfg-options", "model.head.num_classes=3"), "epoch_1.pth", "(3, "),
        ((CONFIG, weights, "--cfg-options", "model.backbone.depth=3"), "'depth'"),
        ((CONFIG, "mask_rcnn_uniformer_s"), "mask_rcnn_uniformer_s", "drive.google.com"),
        ((CONFIG, weights, "--out-dir", "evil.pth"), "evil.pth/"),
    ):
        assert run_inside("convert_checkpoint.py", *arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert all(fact in error for fact in facts), error
    assert os.listdir() == ["evil.pth"], "nothing was run or written"
