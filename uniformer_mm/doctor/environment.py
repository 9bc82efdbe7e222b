"""Versions, machine and repairs of an installation."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.utils.dl_utils import collect_env

from uniformer_mm.analysis.report import device_name
from uniformer_mm.checkpoints.zoo import PACKAGE
from uniformer_mm.compat import REPAIRS, distributions, is_active
from uniformer_mm.compat.distributions import FORKS, owners, uses_forks
from uniformer_mm.version import __version__

BASE = ("torch", "torchvision", "numpy", "av")
OPENCV = ("opencv-python", "opencv-python-headless", "opencv-contrib-python")

VARIABLES = r"(OMP|MKL|KMP|GOMP|ONEDNN|DNNL|CUDA|NVIDIA|PYTORCH|TORCH|NCCL|LD_PRELOAD)(_|$)"
"""Names of environment variables that torch reads."""


class Codebase(NamedTuple):
    """An OpenMMLab codebase.

    Attributes:
        module: Its Python module; also the scope of its registries.
        distribution: Its name for pip.
        extra: Extra of this package that installs it.
        config: A config for it, in configs/.
    """

    module: str
    distribution: str
    extra: str
    config: str


CODEBASES = (
    Codebase("mmdet", "mmdet", "det", "det/mask_rcnn_uniformer_s.py"),
    Codebase("mmseg", "mmsegmentation", "seg", "seg/upernet_uniformer_s_h14.py"),
    Codebase("mmpose", "mmpose", "pose", "pose/td_hm_uniformer_s_256x192.py"),
    Codebase("mmaction", "mmaction2", "video", "video/uniformer_s_8x8_k400.py"),
    Codebase("mmpretrain", "mmpretrain", "cls", "cls/uniformer_s_in1k.py"),
)


def install_command(extra: str) -> str:
    """The command that installs the codebase of an extra."""
    (base,) = (base for base in CODEBASES if base.extra == extra)
    return distributions.install_command(base.module, extra)


def reinstall_command(module: str, original: str) -> str:
    """The command that installs a package again.

    Args:
        module: Its Python module.
        original: The command for the original package; where forks are installed, it is the fork.
    """
    if uses_forks() and module in FORKS:
        return f"pip install --force-reinstall --no-deps {FORKS[module]}"
    return original


def version_of(distribution: str) -> str | None:
    """Version of an installed distribution, else None."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def versions() -> dict[str, str]:
    """Versions of distributions by name, or the command that installs what is absent."""
    commands = {name: f"pip install {name}" for name in BASE}
    modules = {
        "mmengine": install_command("det"),
        "mmcv": "pip install 'uniformer-mm[lite]'",
        **{base.module: install_command(base.extra) for base in CODEBASES},
    }
    return {
        "uniformer-mm": f"{__version__}{_commit()}",
        "opencv": _installed(OPENCV) or "not installed: pip install opencv-python",
        **{
            name: version_of(name) or f"not installed: {command}"
            for name, command in commands.items()
        },
        **{
            module: _installed(owners(module)) or f"not installed: {command}"
            for module, command in modules.items()
        },
    }


def machine() -> dict[str, str]:
    """The description of mmengine; CPU, memory, and environment variables that torch reads."""
    found = {name: str(value) for name, value in collect_env().items()}
    for name in ("PyTorch compiling details", "numpy_random_seed", "MUSA available"):
        found.pop(name, None)
    variables = {name: value for name, value in os.environ.items() if re.match(VARIABLES, name)}
    file = Path("/proc/meminfo")
    memory = (
        re.findall(r"^Mem(?:Total|Available): .*", file.read_text(), re.M) if file.exists() else []
    )
    return {
        **found,
        "cuDNN": str(torch.backends.cudnn.version()),
        "CPU": device_name("cpu"),
        "Memory": ", ".join(" ".join(line.split()) for line in memory),
        "Variables": " ".join(f"{name}={value}" for name, value in sorted(variables.items())),
    }


def repairs() -> dict[str, tuple[bool, str]]:
    """Whether each repair of the stack is active, and the defect that it repairs."""
    return {
        repair.__name__.rpartition(".")[2]: (
            is_active(repair),
            (repair.__doc__ or "").partition("\n")[0],
        )
        for repair in REPAIRS
    }


def conflicts() -> list[tuple[str, str]]:
    """Causes and remedies of possible problems."""
    found = []
    for module in ("mmengine", "mmcv", *(base.module for base in CODEBASES)):
        if len(names := owners(module)) > 1:
            found.append(
                (
                    f"{' and '.join(names)} are all installed, and overwrite each other's files",
                    f"pip uninstall -y {' '.join(names)}, then install one of them again",
                )
            )
    opencv = {name: version_of(name) for name in OPENCV if version_of(name)}
    if len(set(opencv.values())) > 1:
        lowest = min(opencv.values(), key=str)
        same = " ".join(f"{name}=={lowest}" for name in opencv)
        found.append(
            (
                f"{_installed(OPENCV)}: they overwrite each other's files",
                f"install all of them in one version: pip install {same}",
            )
        )
    if shutil.which("nvidia-smi") and not torch.cuda.is_available():
        found.append(_unused_gpu())
    return found


def _unused_gpu() -> tuple[str, str]:
    """Why torch does not use the NVIDIA GPU, and what to do."""
    if torch.version.cuda is None:
        return (
            "there is an NVIDIA driver, but this torch is built for CPUs",
            "pip install --force-reinstall torch torchvision",
        )
    try:
        torch.cuda.init()
        reason = ""
    except (RuntimeError, AssertionError) as error:
        reason = f": {str(error).splitlines()[0]}"
    return (
        f"torch cannot use the GPU{reason}",
        f"nvidia-smi shows the CUDA version of the driver; torch needs {torch.version.cuda}: update"
        " the driver, or install a torch for an older CUDA (https://pytorch.org/get-started)",
    )


def _commit() -> str:
    """The commit of a clone; empty in an installation."""
    if not (PACKAGE.parent / ".git").exists() or not shutil.which("git"):
        return ""
    command = ["git", "-C", str(PACKAGE.parent), "describe", "--always", "--dirty"]
    result = subprocess.run(command, capture_output=True, text=True)
    return f", commit {result.stdout.strip()}" if result.returncode == 0 else ""


def _installed(distributions: Sequence[str]) -> str:
    """The installed ones of distributions with their versions."""
    found = ((name, version_of(name)) for name in distributions)
    return ", ".join(f"{name} {number}" for name, number in found if number)
