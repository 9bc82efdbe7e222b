"""Checks of an installation: imports, outputs, ops, and a training step per codebase."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from io import StringIO
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

from uniformer_mm.checkpoints.zoo import MIM
from uniformer_mm.compat import is_active, mmcv_ext_missing
from uniformer_mm.compat.distributions import owners
from uniformer_mm.doctor import parity
from uniformer_mm.doctor.environment import CODEBASES, Codebase, install_command, version_of
from uniformer_mm.doctor.remedies import explain

OK, FAILED, ABSENT, SKIPPED = "ok", "FAILED", "absent", "skipped"
"""States of a check; only FAILED means that the installation is broken."""

PARITY_ERROR = {"cpu": 1e-4, "cuda": 2e-2}
"""Accepted error relative to the standard deviation: rounding on CPUs, TF32 on GPUs."""

BATCH = 2
DEPTHS = (1, 1, 1, 1)
"""Blocks per stage of the backbone in a training step."""

REPORT = "; if that does not help, please report it together with all of this output"


@dataclass(frozen=True)
class Finding:
    """The result of a check.

    Attributes:
        state: `OK`, `FAILED`, `ABSENT` (not installed) or `SKIPPED`.
        detail: What was measured, on one line.
        cause: Cause of a failure.
        remedy: Command or instruction that repairs it.
    """

    state: str
    detail: str = ""
    cause: str = ""
    remedy: str = ""


class Check(NamedTuple):
    """A check, its name, and the name of the check that it depends on."""

    name: str
    run: Callable[[], Finding]
    needs: str = ""


def all_checks() -> Iterator[Check]:
    """The checks, each after the one that it depends on."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for module, requirement in (
        ("cv2", "opencv-python"),
        ("av", "av"),
        ("torchvision", "torchvision"),
        ("mmcv.ops", "'uniformer-mm[lite]'"),
    ):
        command = f"pip install {requirement}"
        yield Check(f"import {module}", partial(check_import, module, command))
    for codebase in CODEBASES:
        command = install_command(codebase.extra)
        module = codebase.module
        yield Check(f"import {module}", partial(check_import, f"{module}.apis", command))
    for where in dict.fromkeys(("cpu", device)):
        for case in parity.SHIPPED_CASES:
            yield Check(f"{where}: parity {case['id']}", partial(check_parity, case, where))
        yield Check(f"{where}: nms", partial(check_nms, where), "import mmcv.ops")
        yield Check(f"{where}: roi_align", partial(check_roi_align, where), "import mmcv.ops")
    for codebase in CODEBASES:
        yield Check(
            f"{device}: train {codebase.module}",
            partial(check_training, codebase, device),
            f"import {codebase.module}",
        )


def run_check(check: Check) -> Finding:
    """The result of a check; an error in it is a failure."""
    try:
        with _silence():
            return check.run()
    except Exception as error:
        return Finding(FAILED, "", *explain(error))


def check_import(module: str, command: str) -> Finding:
    """Import a module of the stack, which a command installs."""
    if find_spec(module.partition(".")[0]) is None:
        return Finding(ABSENT, f"not installed: {command}")
    import_module(module)
    return Finding(OK)


def check_parity(case: dict[str, Any], device: str) -> Finding:
    """Compare outputs of a backbone with those of the official code."""
    model = parity.build(case)
    parity.fill(model)
    outputs = parity.outputs_of(model.to(device), case)
    pairs = zip(outputs, case["outputs"], strict=True)
    error = max(max(parity.errors(output, official)) for output, official in pairs)
    if error <= PARITY_ERROR[device]:
        return Finding(OK, f"differs from the official code by {error:.0e}")
    return Finding(
        FAILED,
        f"differs from the official code by {error:.0e}, {PARITY_ERROR[device]:.0e} is allowed",
        "uniformer_mm was modified, or a setting or bug of torch on this machine makes its outputs"
        " inexact",
        f"unset environment variables (ONEDNN_*, NVIDIA_*, TORCH_*, see settings above), and"
        f" compare uniformer_mm/models with its release{REPORT}",
    )


def check_nms(device: str) -> Finding:
    """Suppress a box that has an IoU of 0.68 with a better one."""
    from mmcv.ops import nms

    boxes = torch.tensor([[20.0, 20, 30, 30], [0, 0, 10, 10], [1, 1, 11, 11]], device=device)
    scores = torch.tensor([0.7, 0.9, 0.8], device=device)
    kept = nms(boxes, scores, 0.5)[1].tolist()
    return _op_finding(kept == [1, 0], f"kept the boxes {kept} instead of [1, 0]")


def check_roi_align(device: str) -> Finding:
    """Pool a ramp, whose mean over a bin is the value at its centre; check the gradient."""
    from mmcv.ops import RoIAlign

    steps = torch.arange(16.0, device=device)
    ramp = (10 * steps[:, None] + steps).expand(1, 1, 16, 16).clone().requires_grad_()
    box = torch.tensor([[0.0, 2, 2, 10, 10]], device=device)
    pooled = RoIAlign(4, sampling_ratio=2, aligned=True)(ramp, box)
    centres = torch.tensor([2.5, 4.5, 6.5, 8.5], device=device)
    error = (pooled[0, 0] - (10 * centres[:, None] + centres)).abs().max().item()
    pooled.sum().backward()
    assert ramp.grad is not None
    error = max(error, abs(ramp.grad.sum().item() - 16))
    return _op_finding(error < 1e-3, f"is wrong by {error:.1e}")


def check_training(codebase: Codebase, device: str) -> Finding:
    """Train a small model of a config for one step, on synthetic data."""
    from mmengine.optim import build_optim_wrapper
    from mmengine.registry import MODELS, DefaultScope
    from mmengine.runner import Runner

    from uniformer_mm.apis.config import adapt_to_machine, load_config
    from uniformer_mm.tasks import TASKS

    cfg = load_config(str(MIM / "configs" / codebase.config))
    with TemporaryDirectory() as folder, torch.random.fork_rng():
        torch.manual_seed(0)
        TASKS[codebase.module].use_synthetic_data(cfg, BATCH, Path(folder))
        adapt_to_machine(cfg)
        cfg.model.backbone.arch = {"depths": DEPTHS}
        cfg.model.setdefault("data_preprocessor", cfg.get("data_preprocessor"))
        cfg.train_dataloader.batch_size = BATCH
        with DefaultScope.overwrite_default_scope(codebase.module):
            loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
            model = MODELS.build(cfg.model).to(device)
            optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
            before = [parameter.detach().clone() for parameter in model.backbone.parameters()]
            losses = model.train_step(next(iter(loader)), optimizer)
    loss = float(losses["loss"])
    changed = [
        bool((old != new).any() and new.isfinite().all())
        for old, new in zip(before, model.backbone.parameters(), strict=True)
    ]
    if isfinite(loss) and all(changed):
        return Finding(OK, f"loss {loss:.2f}")
    return Finding(
        FAILED,
        f"loss {loss}, {len(changed) - sum(changed)} of {len(changed)} parameters of the backbone"
        " did not change or are not finite",
        f"a training step of {' '.join(owners(codebase.module))} fails with torch"
        f" {torch.__version__}",
        f"pip install --force-reinstall --no-deps {' '.join(owners(codebase.module))}{REPORT}",
    )


def _op_finding(is_right: bool, fault: str) -> Finding:
    """The result of an op, which mmcv or torchvision computes."""
    is_compiled = not is_active(mmcv_ext_missing)
    package = owners("mmcv")[0] if is_compiled else "torchvision"
    source = "compiled mmcv" if is_compiled else "torchvision, instead of mmcv"
    if is_right:
        return Finding(OK, source)
    return Finding(
        FAILED,
        source,
        f"the op of {package} {version_of(package)} {fault}",
        f"pip install --force-reinstall --no-deps --no-cache-dir {package}{REPORT}",
    )


@contextmanager
def _silence() -> Iterator[None]:
    """Discard the output of the stack."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
