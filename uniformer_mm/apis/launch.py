"""From a config file and command-line options to an mmengine Runner on the machine at hand."""

import os
import warnings
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from uniformer_mm.errors import UserError

VISUALIZATION_OPTIONS = {
    "mmdet": ("draw", "test_out_dir"),
    "mmseg": ("draw", None),
    "mmpose": ("enable", "out_dir"),
    "mmaction": ("enable", "out_dir"),
    "mmpretrain": ("enable", "out_dir"),
}
"""What each codebase's visualization hook calls its switch and its folder."""


def load_config(path: str, work_dir: str | None = None, launcher: str = "none") -> Config:
    """Read a config; its name decides the default working directory.

    Raises:
        UserError: There is no such file, or it cannot be read as a config.
    """
    if not Path(path).is_file():
        raise UserError(f"no config file {path}")
    try:
        cfg = Config.fromfile(path)
    except Exception as error:
        raise UserError(
            f"{path} cannot be read as a config: {type(error).__name__}: {error}.{_stack_hint()}"
        ) from error
    cfg.work_dir = work_dir or cfg.get("work_dir") or str(Path("work_dirs", Path(path).stem))
    cfg.launcher = launcher
    return cfg


def use_mixed_precision(cfg: Config) -> None:
    """Train with automatic mixed precision and a dynamic loss scale."""
    cfg.optim_wrapper.type = "AmpOptimWrapper"
    cfg.optim_wrapper.setdefault("loss_scale", "dynamic")


def scale_learning_rate(cfg: Config) -> None:
    """Scale the learning rate with the total batch size.

    Raises:
        UserError: The config does not say for which batch size its learning rate is.
    """
    if "base_batch_size" not in cfg.get("auto_scale_lr", {}):
        raise UserError("--auto-scale-lr needs auto_scale_lr.base_batch_size in the config")
    cfg.auto_scale_lr.enable = True


def resume_from(cfg: Config, checkpoint: str) -> None:
    """Go on from a checkpoint, or from the newest in the working directory ('auto').

    Raises:
        UserError: There is no such checkpoint.
    """
    cfg.resume = True
    cfg.load_from = None if checkpoint == "auto" else existing_checkpoint(checkpoint)


def existing_checkpoint(checkpoint: str) -> str:
    """The path, or a URL, as it is.

    Raises:
        UserError: There is no such file.
    """
    if "://" not in checkpoint and not Path(checkpoint).is_file():
        raise UserError(f"no checkpoint {checkpoint}")
    return checkpoint


def draw_predictions(cfg: Config, folder: Path | None, show: bool = False) -> None:
    """Paint predictions beside the ground truth while testing.

    Raises:
        UserError: The config has no visualization hook.
    """
    hook = cfg.get("default_hooks", {}).get("visualization")
    switch, folder_option = VISUALIZATION_OPTIONS.get(cfg.get("default_scope"), (None, None))
    if hook is None or switch is None:
        raise UserError("--show and --show-dir need default_hooks.visualization in the config")
    # mmengine warns of every box that touches the border of its picture.
    warnings.filterwarnings(
        "ignore", "Warning: The (bbox|polygon) is out of bounds", module=r"mmengine\.visualization"
    )
    hook[switch] = True
    hook["show"] = show
    if folder is not None and folder_option:
        hook[folder_option] = str(folder.resolve())
    elif folder is not None:
        cfg.visualizer["save_dir"] = str(folder.resolve())


def use_test_time_augmentation(cfg: Config) -> None:
    """Test with the config's `tta_model` and `tta_pipeline`.

    Detectors have flipping by default, and boxes only.

    Raises:
        UserError: The codebase has no default and the config does not say.
    """
    if cfg.get("default_scope") == "mmdet":
        _without_masks(cfg)
        cfg.setdefault(
            "tta_model",
            ConfigDict(
                type="DetTTAModel",
                tta_cfg={"nms": {"type": "nms", "iou_threshold": 0.5}, "max_per_img": 100},
            ),
        )
        if "tta_pipeline" not in cfg:
            cfg.tta_pipeline = _flip_pipeline(cfg.test_dataloader.dataset.pipeline)
    if "tta_model" not in cfg or "tta_pipeline" not in cfg:
        raise UserError("--tta needs tta_model and tta_pipeline in the config")
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    dataset = cfg.test_dataloader.dataset
    while "dataset" in dataset:
        dataset = dataset.dataset
    dataset.pipeline = cfg.tta_pipeline


def adapt_to_machine(cfg: Config) -> None:
    """Without a GPU: single precision, plain BatchNorm, and gloo between processes.

    AMP wrappers refuse CPUs, SyncBN has no CPU version, and mmengine's launchers select a CUDA
    device. In a distributed run the process group is joined here, before mmengine would do so.
    """
    if torch.cuda.is_available():
        return
    wrapper = cfg.get("optim_wrapper", {})
    if wrapper.get("type") == "AmpOptimWrapper":
        print_log("no GPU: training in single instead of mixed precision", logger="current")
        wrapper.type = "OptimWrapper"
        for option in ("loss_scale", "dtype", "use_fsdp"):
            wrapper.pop(option, None)
    replace_sync_batch_norm(cfg.model)
    if cfg.get("launcher", "none") != "none":
        cfg.env_cfg.dist_cfg.backend = "gloo"
        cfg.model_wrapper_cfg = {
            "type": "MMDistributedDataParallel",
            "device_ids": None,
            "broadcast_buffers": False,
        }
        join_cpu_process_group(cfg.launcher)


def join_cpu_process_group(launcher: str) -> None:
    """Join the gloo group whose address torchrun or Slurm put into the environment."""
    if torch.distributed.is_initialized():
        return
    if launcher == "slurm":
        os.environ.setdefault("RANK", os.environ["SLURM_PROCID"])
        os.environ.setdefault("WORLD_SIZE", os.environ["SLURM_NTASKS"])
        os.environ.setdefault("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0"))
        os.environ.setdefault("MASTER_PORT", "29500")
        os.environ.setdefault("MASTER_ADDR", os.environ.get("SLURM_LAUNCH_NODE_IPADDR", ""))
    missing = [name for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR") if not os.environ.get(name)]
    if missing:
        raise UserError(
            f"--launcher {launcher} needs {', '.join(missing)} in the environment:"
            " start through tools/dist_train.sh or tools/slurm_train.sh"
        )
    torch.distributed.init_process_group("gloo")


def replace_sync_batch_norm(config: Any) -> None:
    """Turn every SyncBN of a model config into BN."""
    if isinstance(config, dict):
        if config.get("type") == "SyncBN":
            config["type"] = "BN"
        for value in config.values():
            replace_sync_batch_norm(value)
    elif isinstance(config, list | tuple):
        for value in config:
            replace_sync_batch_norm(value)


def build_runner(cfg: Config) -> Runner:
    """The Runner of a config.

    Raises:
        UserError: Something in the config has no such option or a wrong value.
    """
    try:
        return RUNNERS.build(cfg) if "runner_type" in cfg else Runner.from_cfg(cfg)
    except (TypeError, ValueError, KeyError, ImportError, AttributeError) as error:
        raise UserError(
            f"the config cannot be built: {type(error).__name__}: {error}.{_stack_hint()}"
        ) from error


def _without_masks(cfg: Config) -> None:
    """Test an instance segmenter as a box detector: mmdet cannot merge augmented masks."""
    roi_head = cfg.model.get("roi_head", {})
    if roi_head.get("mask_head") is None:
        return
    print_log("--tta: mmdet merges boxes only, masks are left out", logger="current")
    roi_head.update(mask_head=None, mask_roi_extractor=None)
    metrics = cfg.test_evaluator
    for metric in metrics if isinstance(metrics, list) else [metrics]:
        if metric["type"] == "CocoMetric":
            metric["metric"] = ["bbox"]


def _flip_pipeline(pipeline: list[dict]) -> list[dict]:
    pack = dict(pipeline[-1])
    pack["meta_keys"] = (*pack["meta_keys"], "flip", "flip_direction")
    flips = [{"type": "RandomFlip", "prob": probability} for probability in (1.0, 0.0)]
    loading = [step for step in pipeline[:-1] if step["type"] != "LoadAnnotations"]
    annotations = [step for step in pipeline[:-1] if step["type"] == "LoadAnnotations"]
    augment = {"type": "TestTimeAug", "transforms": [flips, annotations, [pack]]}
    if not annotations:
        augment["transforms"] = [flips, [pack]]
    return [*loading, augment]


def _stack_hint() -> str:
    """What to install, if a part of the stack is absent."""
    from importlib.util import find_spec

    missing = [name for name in ("mmcv", "mmdet") if find_spec(name) is None]
    if not missing:
        return ""
    return f" Not installed: {', '.join(missing)}; `pip install 'uniformer-mm[det,lite]'` has it"
