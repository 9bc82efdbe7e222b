"""Reading a config, applying the command line, and adapting to the machine."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from uniformer_mm.apis.cli import make_parser
from uniformer_mm.apis.config import (
    adapt_to_machine,
    apply_cli,
    check_data,
    find_config,
    load_config,
)
from uniformer_mm.apis.launch import join_cpu_process_group
from uniformer_mm.errors import UserError
from uniformer_mm.tasks.mmdet import Detection

CONFIGS = Path(__file__).resolve().parents[2] / "configs"

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


NAME = "det/mask_rcnn_uniformer_s.py"


@pytest.mark.parametrize(
    "name", [f"configs/{NAME}", f"uniformer_mm::{NAME}", "mask_rcnn_uniformer_s", CONFIGS / NAME]
)
def test_a_config_has_a_name_in_any_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(name).samefile(CONFIGS / NAME)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("absent.py", "absent.py"),
        ("mask_rcnn_uniformer_x", "mask_rcnn_uniformer_s"),
        ("uniformer_mm::det/absent.py", "absent.py"),
        ("nobody::det/absent.py", "nobody"),
    ],
)
def test_a_config_that_does_not_exist_is_named(name, said):
    with pytest.raises(UserError, match=said):
        load_config(name)


@without_gpu
def test_without_gpu_precision_is_single_and_batch_norm_plain():
    cfg = Config(
        {
            "optim_wrapper": {"type": "AmpOptimWrapper", "loss_scale": "dynamic", "clip_grad": 1},
            "model": {"head": [{"norm_cfg": {"type": "SyncBN", "requires_grad": True}}]},
            "sync_bn": "torch",
        }
    )
    adapt_to_machine(cfg)
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
def test_only_the_first_process_checks_data(launcher, variables, first, monkeypatch):
    for name in ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    checked = []
    monkeypatch.setattr(Detection, "check_data", lambda *_: checked.append(True))
    cfg = Config({"default_scope": "mmdet", "launcher": launcher, "model": {}})
    check_data(cfg, ("train",))
    assert checked == [True] * first


@without_gpu
def test_launcher_without_its_environment_is_named(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=r"needs RANK, WORLD_SIZE, MASTER_ADDR .*dist_train\.sh"):
        join_cpu_process_group("pytorch")


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
    join_cpu_process_group("slurm")
    try:
        assert torch.distributed.get_world_size() == 1
    finally:
        torch.distributed.destroy_process_group()


def arguments_of(*words):
    parser = make_parser(None)
    for flag in ("--amp", "--auto-scale-lr", "--compile"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--load-from")
    parser.add_argument("--resume")
    return parser.parse_args(["configs/mine.py", *map(str, words)])


def config(**settings):
    return Config({"model": {}, "optim_wrapper": {"type": "OptimWrapper"}, **settings})


def test_the_command_line_is_applied(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    cfg = config(custom_hooks=[{"type": "Mine"}], auto_scale_lr={"base_batch_size": 16})
    flags = ("--amp", "--auto-scale-lr", "--compile", "--load-from", "a.pth")
    apply_cli(cfg, arguments_of(*flags, "--cfg-options", "model.depth=3"))
    assert cfg.work_dir == "work_dirs/mine"
    assert cfg.model.depth == 3
    assert cfg.optim_wrapper == {"type": "AmpOptimWrapper", "loss_scale": "dynamic"}
    assert cfg.auto_scale_lr.enable
    assert [hook["type"] for hook in cfg.custom_hooks] == ["Mine", "mmengine.CompileHook"]
    assert cfg.load_from == "a.pth"
    assert not cfg.get("resume")
    with pytest.raises(UserError, match="base_batch_size"):
        apply_cli(config(), arguments_of("--auto-scale-lr"))


@pytest.mark.parametrize(
    ("given", "settings", "expected"),
    [
        (["--resume", "b.pth"], {"load_from": "a.pth"}, (True, "b.pth")),
        ([], {"load_from": "a.pth", "resume": True}, (True, "a.pth")),
        (["--resume", "auto"], {"load_from": "a.pth"}, (False, "a.pth")),
        ([], {"load_from": "a.pth"}, (False, "a.pth")),
    ],
)
def test_the_checkpoint_to_start_from(tmp_path, given, settings, expected):
    cfg = config(**settings)
    apply_cli(cfg, arguments_of("--work-dir", tmp_path, *given))
    assert (cfg.get("resume", False), cfg.load_from) == expected


def test_reading_a_config_adds_nothing():
    path = CONFIGS / "det" / "mask_rcnn_uniformer_s.py"
    assert load_config(path).to_dict() == Config.fromfile(path).to_dict()


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("broken.py", "model = dict(", "SyntaxError"),
        ("deep.json", "[" * 100_000, "nested"),
        ("deep.json", '{"a":' * 100_000, "nested"),
    ],
)
def test_a_file_that_is_not_a_config_is_named(tmp_path, name, content, fault):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=rf"{name} .*{fault}"):
        load_config(tmp_path / name)
