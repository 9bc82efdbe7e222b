"""Models of the zoo are evaluated once, into one table that names gaps."""

import json
import os
import subprocess

import pytest
from running import run_inside


@pytest.fixture
def evaluations(monkeypatch):
    """Commands of evaluations, which are replaced by results."""
    started = []

    def run(command, stdout, **_):
        started.append(command)
        if "semantic_fpn" in str(command):
            stdout.write("error: the dataset is missing:\n    data/ade")
            return subprocess.CompletedProcess(command, 2)
        if "uniformer_b_in1k" in str(command):
            stdout.write("error: another")
            return subprocess.CompletedProcess(command, 2)
        with open(command[command.index("--scores") + 1], "w") as file:
            json.dump({"scores": {}, "beside_published": [["top-1", 83.0, 82.9]]}, file)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    return started


def test_table_with_gaps_is_continued(evaluations, tmp_path):
    folder, files = tmp_path / "scores", tmp_path / "files"
    files.mkdir()
    (files / "semantic_fpn_uniformer_s_h14-01234567.pth").touch()
    names = ["uniformer_s_in1k", "uniformer_b_ls_in1k", "semantic_fpn_uniformer_s_h14"]
    command = ["benchmark_zoo.py", folder, "--models", *names, "--checkpoints", files]
    assert run_inside(*command) == 0
    table = (folder / "README.md").read_text()
    assert "| uniformer_s_in1k | top-1 | 83.00 | 82.90 | +0.10 |" in table
    assert "| uniformer_b_ls_in1k | no public direct download" in table
    assert "| semantic_fpn_uniformer_s_h14 | the dataset is missing" in table
    assert os.fspath(files / "semantic_fpn_uniformer_s_h14-01234567.pth") in evaluations[1]
    assert len(evaluations) == 2
    assert run_inside(*command) == 0
    assert len(evaluations) == 3  # the one with a score was not evaluated again


def test_other_models_are_evaluated_after_a_failure(evaluations, tmp_path):
    names = ["uniformer_b_in1k", "uniformer_s_in1k"]
    options = ["--test-options", "--fuse"]
    assert run_inside("benchmark_zoo.py", tmp_path, "--models", *names, *options) == 1
    assert "failed, see" in (tmp_path / "README.md").read_text()
    assert "+0.10" in (tmp_path / "README.md").read_text()
    assert all(command[-1] == "--fuse" for command in evaluations)


def test_an_unknown_model_is_named(tmp_path, capsys):
    assert run_inside("benchmark_zoo.py", tmp_path, "--models", "uniformer_xxl") == 2
    assert "uniformer_xxl" in capsys.readouterr().err
