"""Adapting a config to options and to the machine."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from uniformer_mm.apis import cli, launch
from uniformer_mm.errors import UserError
from uniformer_mm.tasks import task_of
from uniformer_mm.tasks.mmdet import Detection

CONFIGS = Path(__file__).resolve().parents[2] / "configs"

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@without_gpu
def test_without_gpu_precision_is_single_and_batch_norm_plain():
    cfg = Config(
        {
            "optim_wrapper": {"type": "AmpOptimWrapper", "loss_scale": "dynamic", "clip_grad": 1},
            "model": {"head": [{"norm_cfg": {"type": "SyncBN", "requires_grad": True}}]},
            "sync_bn": "torch",
        }
    )
    launch.adapt_to_machine(cfg)
    assert "sync_bn" not in cfg
    assert cfg.optim_wrapper == {"type": "OptimWrapper", "clip_grad": 1}
    assert cfg.model.head[0].norm_cfg == {"type": "BN", "requires_grad": True}


@pytest.mark.parametrize(
    ("launcher", "variables", "first"),
    [
        ("none", {"RANK": "1"}, True),
        ("pytorch", {"RANK": "0"}, True),
        ("pytorch", {"RANK": "1"}, False),
        ("slurm", {"SLURM_PROCID": "0"}, True),
        ("slurm", {"SLURM_PROCID": "3"}, False),
        ("mpi", {"OMPI_COMM_WORLD_RANK": "1"}, False),
        ("pytorch", {}, True),
    ],
)
def test_only_the_first_process_checks_data(launcher, variables, first, monkeypatch, tmp_path):
    for name in ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    checked = []
    monkeypatch.setattr(Detection, "check_data", lambda *_: checked.append(True))
    monkeypatch.setattr(cli, "adapt_to_machine", lambda cfg: None)
    monkeypatch.setattr(cli, "missing_data", lambda cfg, splits: ("", []))
    monkeypatch.setenv("LOCAL_RANK", "0")
    config = str(CONFIGS / "det" / "mask_rcnn_uniformer_s.py")
    arguments = cli.make_parser(None).parse_args([config, "--launcher", launcher])
    cli.prepare_config(arguments, ("train",))
    assert checked == [True] * first


@without_gpu
def test_launcher_without_its_environment_is_named(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=r"needs RANK, WORLD_SIZE, MASTER_ADDR .*dist_train\.sh"):
        launch.join_cpu_process_group("pytorch")


@without_gpu
def test_slurm_environment_is_understood(monkeypatch):
    """One process of a job of one."""
    variables = {
        "SLURM_PROCID": "0",
        "SLURM_NTASKS": "1",
        "SLURM_LAUNCH_NODE_IPADDR": "127.0.0.1",
        "MASTER_PORT": "0",  # one that is free
    }
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    launch.join_cpu_process_group("slurm")
    try:
        assert torch.distributed.get_world_size() == 1
    finally:
        torch.distributed.destroy_process_group()


def test_mixed_precision_and_scaled_learning_rate():
    cfg = Config({"optim_wrapper": {"type": "OptimWrapper"}, "auto_scale_lr": {"enable": False}})
    launch.use_mixed_precision(cfg)
    assert cfg.optim_wrapper == {"type": "AmpOptimWrapper", "loss_scale": "dynamic"}
    with pytest.raises(UserError, match="base_batch_size"):
        launch.scale_learning_rate(cfg)
    cfg.auto_scale_lr.base_batch_size = 16
    launch.scale_learning_rate(cfg)
    assert cfg.auto_scale_lr.enable


def test_a_config_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("model = dict(")
    with pytest.raises(UserError, match=r"broken\.py cannot be read as a config"):
        launch.load_config(str(path))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"attention": "swin"}, r"attention must be one of \('global', 'window', 'hybrid'\)"),
        ({"depth": 3}, "unexpected keyword argument 'depth'"),
    ],
)
def test_a_wrong_option_of_the_backbone_is_named(tmp_path, synthetic_folder, option, message):
    cfg = launch.load_config(str(CONFIGS / "det" / "mask_rcnn_uniformer_s.py"), str(tmp_path))
    task_of(cfg).use_synthetic_data(cfg, 8, synthetic_folder / "data" / "synthetic")
    launch.adapt_to_machine(cfg)
    cfg.model.backbone.update(option)
    with pytest.raises(UserError, match=message):
        launch.build_runner(cfg, exact_checkpoint=False)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_json_that_is_nested_too_deeply_is_named(tmp_path, opening):
    path = tmp_path / "deep.json"
    path.write_text(opening * 100_000)
    with pytest.raises(UserError, match=r"deep\.json cannot be read .* nested too deeply"):
        launch.load_config(str(path))
