"""Causes and remedies of known errors of the stack."""

import re
import traceback
from typing import NamedTuple

import torch

from uniformer_mm.compat.distributions import FORKS, uses_forks
from uniformer_mm.doctor.environment import (
    CODEBASES,
    install_command,
    reinstall_command,
    version_of,
)

DISTRIBUTIONS = {
    "PIL": "pillow",
    "cv2": "opencv-python",
    "importlib_metadata": "importlib-metadata",
    "json_tricks": "json-tricks",
    "mmcv": "'uniformer-mm[lite]' (or a compiled mmcv==2.1.0)",
    "pkg_resources": "'setuptools<81'",
    "yaml": "pyyaml",
}
"""Modules whose distribution has another name."""

ORIGINALS = {
    "mmengine": "pip install 'mmengine>=0.10.5,<0.11'",
    "mmdet": "pip install mmdet==3.3.0",
    "mmcv": "pip uninstall -y mmcv mmcv-lite && pip install mmcv-lite==2.1.0 (no compiler needed),"
    " or compile mmcv==2.1.0: pip install --no-build-isolation --no-cache-dir mmcv==2.1.0",
}
"""Commands that install supported versions of the original packages."""

TORCH_INDEX = "https://download.pytorch.org/whl"
UNKNOWN = "not known to this tool: please report it together with all of this output"


class Rule(NamedTuple):
    """A known error; `{0}` is the first group of the pattern, `{pip}` what installs a module.

    Attributes:
        pattern: Regular expression for the text of the error.
        cause: The cause.
        remedy: A command, or what to do.
    """

    pattern: str
    cause: str
    remedy: str


RULES = (
    Rule(
        r"operator torchvision::\w+ does not exist|[Cc]ouldn't load custom C\+\+ ops"
        r"|torchvision.+(?:undefined symbol|does not work with torch)"
        r"|PyTorch and torchvision were compiled with different",
        "torch and torchvision do not fit together: their versions or builds differ (for instance a"
        " CPU build of one and a CUDA build of the other)",
        "{torchvision}",
    ),
    Rule(
        r"mmcv[/\\.]_ext.*(?:undefined symbol|DLL load failed|cannot open shared object)"
        r"|libc10|libtorch",
        "a compiled extension, most likely mmcv's, was built for another torch",
        "{mmcv}",
    ),
    Rule(
        r"numpy\.dtype size changed|numpy\.core\.multiarray failed to import"
        r"|compiled using NumPy 1\.x|module compiled against ABI|_ARRAY_API not found",
        "a package was compiled for another numpy; of the stack, only the wheels of xtcocotools"
        " require numpy 1",
        "pip uninstall -y xtcocotools (mmpose works without it)",
    ),
    Rule(
        r"(MMEngine)==(\S+) is used but incompatible",
        "the codebase refuses {0} {1}",
        "{mmengine}",
    ),
    Rule(
        r"(MMDetection|MMDet)==(\S+) is used but incompatible",
        "the codebase refuses {0} {1}",
        "{mmdet}",
    ),
    Rule(
        r"(MMCV)==(\S+) is used but incompatible",
        "the codebase refuses {0} {1}",
        "{mmcv}",
    ),
    Rule(
        r"No module named '(pkg_resources)'",
        "setuptools 82 has removed {0}, which mmengine imports",
        "{pip}",
    ),
    Rule(
        r"libGL\.so\.1|libgthread|libglib",
        "OpenCV needs desktop libraries that are not installed",
        "apt-get install libgl1 libglib2.0-0, or: pip uninstall -y opencv-python"
        " opencv-contrib-python && pip install --force-reinstall opencv-python-headless",
    ),
    Rule(
        r"importlib_metadata",
        "mmaction2 needs importlib-metadata, which it does not declare",
        "pip install importlib-metadata",
    ),
    Rule(r"(?:No module named|import of) '?([\w.]+)'?", "the module {0} is not installed", "{pip}"),
    Rule(
        r"no config file (\S+)",
        "{0}, a config of this package, is missing: the installation is incomplete",
        "pip install --force-reinstall --no-deps uniformer-mm",
    ),
    Rule(
        r"CUDA out of memory|out of memory",
        "the GPU's memory is in use, maybe by another process",
        "nvidia-smi lists the processes; CUDA_VISIBLE_DEVICES= runs on the CPU",
    ),
    Rule(
        r"no kernel image is available|sm_\d+ is not compatible",
        "this torch has no kernels for this GPU",
        f"pip install --force-reinstall torch torchvision --index-url {TORCH_INDEX}/cuNNN with a"
        " newer (or for an old GPU an older) CUDA",
    ),
    Rule(
        r"No space left on device",
        "the folder for temporary files is full",
        "free disk space, or use another folder: TMPDIR=FOLDER",
    ),
    Rule(
        r"DefaultCPUAllocator: can't allocate|MemoryError",
        "out of memory",
        "end other processes",
    ),
)


def explain(error: BaseException) -> tuple[str, str]:
    """Cause and remedy of an error of the stack."""
    texts = []
    link: BaseException | None = error
    while link is not None:
        texts.append(" ".join(f"{type(link).__name__}: {link}".split()))
        link = link.__cause__ or link.__context__
    for text in reversed(texts):  # the first error is the closest to the cause
        for rule in RULES:
            match = re.search(rule.pattern, text)
            if match:
                groups = [group or "" for group in match.groups()]
                remedy = rule.remedy.format(
                    pip=_install_module(groups[0]) if groups else "",
                    torchvision=_reinstall_torchvision(),
                    **{name: reinstall_command(name, text) for name, text in ORIGINALS.items()},
                )
                return f"{rule.cause.format(*groups)} ({_shortened(text)})", remedy
    frames = traceback.extract_tb(error.__traceback__)
    place = f" (raised in {frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{_shortened(texts[0])}{place}", UNKNOWN


def _shortened(text: str, limit: int = 300) -> str:
    return text if len(text) <= limit else f"{text[:limit]} ..."


def _install_module(name: str) -> str:
    """The command that installs a missing module."""
    name = name.partition(".")[0]
    for codebase in CODEBASES:
        if name == codebase.module:
            return install_command(codebase.extra)
    if uses_forks() and name in FORKS:
        return f"pip install {FORKS[name]}"
    return f"pip install {DISTRIBUTIONS.get(name, name)}"


def _reinstall_torchvision() -> str:
    """The command that installs the torchvision for the installed torch."""
    # The version of the wheel names its build; wheels of the default registry have none.
    number, _, build = (version_of("torch") or torch.__version__).partition("+")
    major, minor, *_ = number.split(".")
    # torchvision 0.15 belongs to torch 2.0, and both minor versions have increased together since.
    fitting = f"'torchvision==0.{int(minor) + 15}.*'" if major == "2" else "torchvision"
    index = f" --index-url {TORCH_INDEX}/{build}" if build else ""
    return f"pip install --force-reinstall --no-deps {fitting}{index}"
