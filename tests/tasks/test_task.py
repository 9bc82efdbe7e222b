"""What holds for every task, and how configs are shrunken."""

from pathlib import Path

import pytest
from mmengine.config import Config

from uniformer_mm.errors import UserError
from uniformer_mm.tasks import TASKS, task_of
from uniformer_mm.tasks.short_run import ShortRun, from_random_weights, scale_sizes, shrink_schedule

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def test_every_codebase_has_its_task():
    assert set(TASKS) == {"mmdet", "mmseg", "mmpose", "mmaction", "mmpretrain"}
    with pytest.raises(UserError, match=r"default_scope must be one of .*got 'mmagic'"):
        task_of(Config({"default_scope": "mmagic"}))


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.scope)
def test_datasets_without_a_generated_counterpart_are_named(task, tmp_path):
    cfg = Config({"train_dataloader": {"dataset": {"type": "LVISV1Dataset"}}})
    with pytest.raises(UserError, match=r"no counterpart for datasets \['LVISV1Dataset'\]"):
        task.use_synthetic_data(cfg, 4, tmp_path)


def test_synthetic_sets_of_different_counts_do_not_replace_each_other(tmp_path):
    roots = []
    for count in (2, 3, 2):
        cfg = Config.fromfile(CONFIGS / "cls" / "uniformer_s_in1k.py")
        roots.append(task_of(cfg).use_synthetic_data(cfg, count, tmp_path))
        assert Path(cfg.train_dataloader.dataset.data_root).is_relative_to(roots[-1])
    first, second, again = roots
    assert first == again != second
    assert len(list(first.rglob("*.JPEG"))) < len(list(second.rglob("*.JPEG")))


@pytest.mark.parametrize("hooks", [None, {"checkpoint": None, "logger": None}])
def test_synthetic_data_leave_hooks_off_that_a_config_switches_off(hooks, tmp_path):
    cfg = Config.fromfile(CONFIGS / "cls" / "uniformer_s_in1k.py")
    cfg.default_hooks = hooks
    task_of(cfg).use_synthetic_data(cfg, 2, tmp_path)
    assert cfg.default_hooks == hooks


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.scope)
def test_pictures_need_a_visualization_hook(task):
    with pytest.raises(UserError, match="visualization"):
        task.draw_predictions(Config({"default_scope": task.scope}), None)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.scope)
def test_missing_data_is_explained(task):
    text = task.data_help("somewhere/else/")
    assert "somewhere/else/" in text
    assert "--synthetic" in text


def test_backbones_get_no_options_that_their_configs_do_not_name():
    def settings_of(**backbone):
        cfg = Config({"model": {"backbone": backbone}, "optim_wrapper": {}})
        from_random_weights(cfg)
        return cfg.model.backbone

    assert settings_of(type="OwnBackbone", depth=3) == {"type": "OwnBackbone", "depth": 3}
    ours = settings_of(init_cfg={"type": "Pretrained"}, with_cp=[1, 2])
    assert ours == {"init_cfg": None, "with_cp": False}


@pytest.mark.parametrize(
    ("counts", "batch", "iterations", "warmup"),
    [
        ((480, 480), 32, 200, 30),
        ((960, 480), 32, 400, 30),
        ((16, 480), 16, 13, 4),
        ((1, 480), 2, 10, 3),
    ],
)
def test_batch_and_schedule_follow_the_number_of_samples(counts, batch, iterations, warmup):
    loaders = {f"{split}_dataloader": {"batch_size": 4} for split in ("train", "val", "test")}
    hooks = {"checkpoint": {}, "logger": {}}
    cfg = Config({**loaders, "optim_wrapper": {"optimizer": {}}, "default_hooks": hooks})
    count, samples = counts
    shrink_schedule(cfg, ShortRun(samples, 200, 1e-3, batch_size=32), count)
    assert cfg.train_dataloader.batch_size == batch
    assert cfg.train_dataloader.drop_last is False
    assert cfg.train_cfg.max_iters == cfg.train_cfg.val_interval == iterations
    assert cfg.param_scheduler[0].end == warmup
    assert cfg.param_scheduler[1].T_max == iterations - warmup


def test_sizes_are_scaled_at_any_depth():
    pipeline = [
        {"type": "RandomChoice", "transforms": [[{"scales": [(480, 1333), (800, 1333)]}]]},
        {"type": "Resize", "scale": (1333, 800), "keep_ratio": True},
        {"type": "RandomCrop", "crop_size": (1, 600)},
    ]
    scale_sizes(pipeline, 0.1)
    assert pipeline[0]["transforms"][0][0]["scales"] == [(48, 133), (80, 133)]
    assert pipeline[1]["scale"] == (133, 80)
    assert pipeline[2]["crop_size"] == (1, 60)
