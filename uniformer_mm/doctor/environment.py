"""Versions, machine and repairs: what a report of a fault has to say."""

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import torch

from uniformer_mm.checkpoints.zoo import PACKAGE
from uniformer_mm.compat import REPAIRS, is_active
from uniformer_mm.doctor.codebases import CODEBASES, install_command, version_of
from uniformer_mm.doctor.findings import NOTE, Finding
from uniformer_mm.version import __version__

BASE = ("torchvision", "numpy", "mmengine", "av")
OPENCV = ("opencv-python", "opencv-python-headless", "opencv-contrib-python")
MMCV = ("mmcv", "mmcv-lite")

CPU_FEATURES = ("avx", "avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "sve")
"""Of those in /proc/cpuinfo the ones that make a difference to torch."""

VARIABLES = r"(OMP|MKL|KMP|GOMP|ONEDNN|DNNL|CUDA|NVIDIA|PYTORCH|TORCH|NCCL|LD_PRELOAD)(_|$)"
"""Environment variables that do so, too."""


def versions() -> dict[str, str]:
    """Versions by name; also says how to install what is absent."""
    found = {
        "python": f"{platform.python_version()}, {platform.platform(terse=True)},"
        f" {platform.machine()}",
        "uniformer-mm": f"{__version__}{_commit()}",
        "torch": f"{torch.__version__}, {_torch_build()}",
        **{name: version_of(name) or f"not installed: pip install {name}" for name in BASE},
        "opencv": _several(OPENCV) or "not installed: pip install opencv-python",
        "mmcv": _several(MMCV) or "not installed: pip install 'uniformer-mm[lite]'",
    }
    for codebase in CODEBASES:
        found[codebase.distribution] = version_of(codebase.distribution) or (
            f"not installed: {install_command(codebase.extra)}"
        )
    return found


def machine() -> dict[str, str]:
    """Processor, memory, GPUs, and settings that change what torch does with them."""
    settings = {name: value for name, value in os.environ.items() if re.match(VARIABLES, name)}
    return {
        "cpu": _cpu(),
        "threads": f"{torch.get_num_threads()} of torch, {_usable_cores()} usable cores",
        "memory": _memory(),
        **_gpus(),
        "settings": " ".join(f"{name}={value}" for name, value in sorted(settings.items()))
        or "no environment variables that torch listens to",
    }


def repairs() -> dict[str, tuple[bool, str]]:
    """Whether each repair of the stack is active here, and the defect that it is for."""
    return {
        repair.__name__.rpartition(".")[2]: (
            is_active(repair),
            (repair.__doc__ or "").partition("\n")[0],
        )
        for repair in REPAIRS
    }


def conflicts() -> list[Finding]:
    """What is odd about the installation, though it may do no harm."""
    found = []
    if all(version_of(name) for name in MMCV):
        found.append(
            Finding(
                NOTE,
                cause="mmcv and mmcv-lite are both installed, and overwrite each other's files",
                remedy="pip uninstall -y mmcv mmcv-lite, then install one of them again",
            )
        )
    opencv = {version_of(name) for name in OPENCV} - {None}
    if len(opencv) > 1:
        found.append(
            Finding(
                NOTE,
                cause=f"{_several(OPENCV)}: they overwrite each other's files",
                remedy=f"install all of them in one version: pip install"
                f" {' '.join(f'{name}=={min(opencv, key=str)}' for name in _present(OPENCV))}",
            )
        )
    if shutil.which("nvidia-smi") and not torch.cuda.is_available():
        found.append(Finding(NOTE, cause=_unused_gpu(), remedy=_use_gpu()))
    return found


def _commit() -> str:
    """Which commit a clone is at; empty in an installation."""
    if not (PACKAGE.parent / ".git").exists() or not shutil.which("git"):
        return ""
    command = ["git", "-C", str(PACKAGE.parent), "describe", "--always", "--dirty"]
    result = subprocess.run(command, capture_output=True, text=True)
    return f", commit {result.stdout.strip()}" if result.returncode == 0 else ""


def _torch_build() -> str:
    if torch.version.hip:
        return f"built for ROCm {torch.version.hip}"
    if torch.version.cuda is None:
        return "built for CPUs"
    cudnn = torch.backends.cudnn.version()
    return f"built for CUDA {torch.version.cuda}" + (f", cuDNN {cudnn}" if cudnn else "")


def _present(distributions: tuple[str, ...]) -> list[str]:
    return [name for name in distributions if version_of(name)]


def _several(distributions: tuple[str, ...]) -> str:
    """Those that are installed, with their versions."""
    return ", ".join(f"{name} {version_of(name)}" for name in _present(distributions))


def _cpu() -> str:
    model, features = platform.processor() or platform.machine(), ""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    name = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*: (.+)$", text, re.MULTILINE)
    if name:
        model = name[1]
    if flags:
        known = set(flags[1].split())
        features = ": " + " ".join(feature for feature in CPU_FEATURES if feature in known)
    return f"{model}{features}; torch uses {torch.backends.cpu.get_cpu_capability()}"


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> str:
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return "unknown"
    sizes = {name: int(size) / 2**20 for name, size in re.findall(r"(\w+):\s+(\d+) kB", text)}
    return f"{sizes['MemTotal']:.1f} GiB, {sizes['MemAvailable']:.1f} of them available"


def _gpus() -> dict[str, str]:
    if not torch.cuda.is_available():
        return {"gpu": "none that torch can use"}
    found = {}
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found[f"gpu {index}"] = (
            f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB,"
            f" compute capability {properties.major}.{properties.minor}"
        )
    return found


def _unused_gpu() -> str:
    if torch.version.cuda is None:
        return "there is a driver of an NVIDIA GPU, but this torch is built for CPUs"
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return f"torch cannot use the GPU: {str(error).splitlines()[0]}"
    return "torch cannot use the GPU"


def _use_gpu() -> str:
    if torch.version.cuda is None:
        return "pip install --force-reinstall torch torchvision"
    return (
        f"nvidia-smi shows what CUDA the driver can do; torch needs {torch.version.cuda}: update"
        " the driver, or install a torch for an older CUDA (https://pytorch.org/get-started)"
    )
