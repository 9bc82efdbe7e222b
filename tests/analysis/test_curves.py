"""Curves of logs that mmengine's LocalVisBackend has written."""

import json

import cv2
import numpy as np
import pytest
from mmengine.visualization import LocalVisBackend

from uniformer_mm.analysis.curves import (
    choose_keys,
    plot_curves,
    read_curves,
    run_names,
    summarize,
)
from uniformer_mm.analysis.report import make_axes
from uniformer_mm.errors import UserError


def log_start(work_dir, stamp, lines):
    """One start of a run: training lines (step, loss, epoch or None), scores (step, mAP)."""
    backend = LocalVisBackend(str(work_dir / stamp / "vis_data"))
    for line in lines:
        if "loss" in line:
            values = {"lr": 1e-3, "loss": line["loss"], "loss_cls": line["loss"] / 2, "time": 0.1}
            if "epoch" in line:
                values["epoch"] = line["epoch"]
            backend.add_scalars({**values, "iter": line["step"]}, line["step"])
        else:
            scores = {"coco/bbox_mAP": line["mAP"], "coco/other": 1.0, "time": 0.1}
            backend.add_scalars(scores, line["step"])


def train(step, loss, **more):
    return {"step": step, "loss": loss, **more}


def values(points):
    return [(point.iteration, point.value) for point in points]


@pytest.fixture
def resumed(tmp_path):
    """A run that was killed after iteration 40 and resumed from the checkpoint of iteration 20."""
    work_dir = tmp_path / "resumed"
    first = [train(10, 4.0), train(20, 3.0), {"step": 20, "mAP": 0.1}, train(30, 9.0)]
    log_start(work_dir, "20260101_000000", [*first, train(40, 9.0), {"step": 40, "mAP": 0.9}])
    with (work_dir / "20260101_000000/vis_data/scalars.json").open("a") as file:
        file.write('{"lr": 0.001, "lo')
    log_start(
        work_dir, "20260102_000000", [train(30, 2.0), train(40, 1.0), {"step": 40, "mAP": 0.3}]
    )
    log_start(work_dir, "20260103_000000", [{"step": 0, "mAP": 0.7}])  # validated only
    return work_dir


def test_a_resumed_run_is_one_curve(resumed):
    run = read_curves(resumed)
    assert run.name == "resumed"
    assert values(run.training["loss"]) == [(10, 4.0), (20, 3.0), (30, 2.0), (40, 1.0)]
    assert values(run.validation["coco/bbox_mAP"]) == [(20, 0.1), (40, 0.3)]
    single = read_curves(resumed / "20260101_000000")
    assert values(single.training["loss"])[-1] == (40, 9.0)


def test_a_run_from_scratch_replaces_earlier_ones(resumed):
    log_start(resumed, "20260104_000000", [train(10, 5.0)])
    assert values(read_curves(resumed).training["loss"]) == [(10, 5.0)]
    assert not read_curves(resumed).validation


def test_validation_by_epochs_comes_after_its_epoch(tmp_path):
    lines = [train(50, 4.0, epoch=1), train(100, 3.0, epoch=1), {"step": 1, "mAP": 0.2}]
    lines += [train(150, 2.0, epoch=2), train(200, 1.0, epoch=2), {"step": 2, "mAP": 0.1}]
    log_start(tmp_path, "20260101_000000", lines)
    run = read_curves(tmp_path, "epochs")
    assert values(run.validation["coco/bbox_mAP"]) == [(100, 0.2), (200, 0.1)]
    rows = summarize([run], ["loss", "lr", "coco/bbox_mAP"])
    assert rows == [
        {
            "run": "epochs",
            "value": "loss (training)",
            "best": "1",
            "at": "epoch 2",
            "last": "1",
            "of": "epoch 2",
        },
        {
            "run": "epochs",
            "value": "coco/bbox_mAP (validation)",
            "best": "0.2",
            "at": "epoch 1",
            "last": "0.1",
            "of": "epoch 2",
        },
    ]


def test_iterations_count_where_validation_counts_meaningless_epochs(tmp_path):
    log_start(tmp_path, "20260101_000000", [train(10, 1.0), {"step": 0, "mAP": 0.2}])
    (point,) = read_curves(tmp_path).validation["coco/bbox_mAP"]
    assert (point.iteration, point.when) == (10, "iteration 10")


def test_keys_are_the_main_ones_or_named(resumed):
    run = read_curves(resumed)
    assert choose_keys([run], None) == ["loss", "loss_cls", "lr", "coco/bbox_mAP"]
    assert choose_keys([run, run], None) == ["loss", "lr", "coco/bbox_mAP"]
    assert choose_keys([run], ["coco/*", "time"]) == ["time", "coco/bbox_mAP", "coco/other"]
    with pytest.raises(UserError, match=r"'grad_norm' .* lr, loss, "):
        choose_keys([run], ["loss", "grad_norm"])


def test_scores_of_other_tasks_are_all_shown(tmp_path):
    log_start(tmp_path, "20260101_000000", [train(10, 1.0)])
    backend = LocalVisBackend(str(tmp_path / "20260101_000000/vis_data"))
    backend.add_scalars({"mine": 0.5, "time": 0.1, "data_time": 0.1}, 10)
    assert choose_keys([read_curves(tmp_path)], None) == ["loss", "loss_cls", "lr", "mine"]


def test_the_plot_has_a_panel_for_each_kind(resumed, tmp_path):
    run = read_curves(resumed)
    widths = []
    for keys in (["loss"], ["loss", "lr"], ["loss", "lr", "coco/bbox_mAP", "loss_cls"]):
        plot_curves([run, run], keys, tmp_path / "below" / "curves.png")
        widths.append(cv2.imread(str(tmp_path / "below" / "curves.png")).shape[1])
    assert np.array_equal(np.divide(widths, widths[0]), [1, 2, 3])
    with pytest.raises(UserError, match=r"curves\.xyz"):
        plot_curves([run], ["loss"], tmp_path / "curves.xyz")
    with pytest.raises(UserError, match="resumed"):
        plot_curves([run], [], tmp_path / "none.png")


def test_axes_have_labels(resumed, tmp_path, monkeypatch):
    made = []

    def make_and_keep(path, number):
        made.append(make_axes(path, number))
        return made[-1]

    monkeypatch.setattr("uniformer_mm.analysis.curves.make_axes", make_and_keep)
    plot_curves([read_curves(resumed)], ["loss", "lr", "coco/bbox_mAP"], tmp_path / "curves.png")
    labels = [(axes.get_xlabel(), axes.get_ylabel()) for axes in made[0][0]]
    assert labels == [("iteration", name) for name in ("loss", "learning rate", "score")]


def test_nan_is_never_the_best_value(tmp_path):
    log_start(tmp_path, "20260101_000000", [train(10, float("nan")), train(20, 2.0)])
    (row,) = summarize([read_curves(tmp_path)], ["loss"])
    assert (row["best"], row["at"]) == ("2", "iteration 20")


def test_runs_with_the_same_name_are_distinguished(tmp_path):
    paths = [tmp_path / "a" / "run", tmp_path / "b" / "run"]
    assert run_names(paths) == ["a/run", "b/run"]
    assert run_names([paths[0], tmp_path / "b" / "other"]) == ["run", "other"]
    assert run_names([paths[0], paths[0]]) == ["run", "run"]


def test_a_work_dir_without_training_log_is_named(tmp_path):
    with pytest.raises(UserError, match=tmp_path.name):
        read_curves(tmp_path)
    file = tmp_path / "20260101_000000" / "vis_data" / "scalars.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"coco/bbox_mAP": 0.1, "step": 0}) + "\n")
    with pytest.raises(UserError, match="first logged iteration"):
        read_curves(tmp_path)
