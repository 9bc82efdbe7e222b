"""From an error of the stack to its cause, and the command that mends it."""

import re
import traceback
from collections.abc import Callable
from typing import NamedTuple

import torch

from uniformer_mm.doctor.codebases import CODEBASES, install_command, version_of

DISTRIBUTIONS = {
    "PIL": "pillow",
    "cv2": "opencv-python",
    "importlib_metadata": "importlib-metadata",
    "json_tricks": "json-tricks",
    "pkg_resources": "'setuptools<81'",
    "yaml": "pyyaml",
}
"""What pip calls modules that have another name."""

TORCH_INDEX = "https://download.pytorch.org/whl"
REPORT = "unknown to the doctor: please report it together with all of this output"


class Rule(NamedTuple):
    """A known fault.

    Attributes:
        pattern: Regular expression of the error's text.
        cause: In plain words; `{0}` is the first group of the pattern.
        remedy: Says what to do; called with the match.
    """

    pattern: str
    cause: str
    remedy: Callable[[re.Match[str]], str]


def reinstall_torchvision() -> str:
    """The command that installs the torchvision of the torch that is there."""
    # The wheel's own name says where it is from: those of the registry have no build in it.
    number, _, build = (version_of("torch") or torch.__version__).partition("+")
    parts = number.split(".")
    # torchvision 0.15 came with torch 2.0, and both have counted on together since.
    fitting = f"'torchvision==0.{int(parts[1]) + 15}.*'" if parts[0] == "2" else "torchvision"
    index = f" --index-url {TORCH_INDEX}/{build}" if build else ""
    return f"pip install --force-reinstall --no-deps {fitting}{index}"


def install_module(match: re.Match[str]) -> str:
    """The command for a module that is missing."""
    name = match[1].partition(".")[0]
    for codebase in CODEBASES:
        if name == codebase.module:
            return install_command(codebase.extra)
    if name == "mmcv":
        return "pip install 'uniformer-mm[lite]' (or a compiled mmcv==2.1.0)"
    return f"pip install {DISTRIBUTIONS.get(name, name)}"


RULES = (
    Rule(
        r"operator torchvision::\w+ does not exist|[Cc]ouldn't load custom C\+\+ ops"
        r"|torchvision.+(?:undefined symbol|does not work with torch)"
        r"|PyTorch and torchvision were compiled with different",
        "torch and torchvision do not fit together: they are of different versions, or from"
        " different places (a CPU build of one does not fit a CUDA build of the other)",
        lambda match: reinstall_torchvision(),
    ),
    Rule(
        r"mmcv[/\\.]_ext.*(?:undefined symbol|DLL load failed|cannot open shared object)"
        r"|libc10|libtorch",
        "a compiled part, most likely mmcv's, was made for another torch",
        lambda match: (
            "pip uninstall -y mmcv && pip install mmcv-lite==2.1.0 (no compiler needed), or compile"
            " mmcv==2.1.0 again: pip install --no-build-isolation --no-cache-dir mmcv==2.1.0"
        ),
    ),
    Rule(
        r"numpy\.dtype size changed|numpy\.core\.multiarray failed to import"
        r"|compiled using NumPy 1\.x|module compiled against ABI|_ARRAY_API not found",
        f"a package was compiled for another numpy than {version_of('numpy')}; of the"
        " stack it is xtcocotools whose wheels are for numpy 1 only",
        lambda match: "pip uninstall -y xtcocotools (mmpose works without it)",
    ),
    Rule(
        r"(MMCV|MMEngine|MMDetection|MMDet)==(\S+) is used but incompatible",
        "{0} {1} is a version that the codebase refuses",
        lambda match: (
            "pip install 'mmengine>=0.10.5,<0.11'"
            if match[1] == "MMEngine"
            else "pip install mmdet==3.3.0"
            if "Det" in match[1]
            else "pip uninstall -y mmcv mmcv-lite && pip install mmcv-lite==2.1.0 (or compile"
            " mmcv==2.1.0)"
        ),
    ),
    Rule(
        r"No module named '(pkg_resources)'",
        "setuptools 82 has no {0} any more, which mmengine imports",
        install_module,
    ),
    Rule(
        r"libGL\.so\.1|libgthread|libglib",
        "OpenCV wants libraries of a desktop that this machine does not have",
        lambda match: (
            "apt-get install libgl1 libglib2.0-0, or: pip uninstall -y opencv-python"
            " opencv-contrib-python && pip install --force-reinstall opencv-python-headless"
        ),
    ),
    Rule(
        r"importlib_metadata",
        "mmaction2 needs importlib-metadata without saying so",
        lambda match: "pip install importlib-metadata",
    ),
    Rule(
        r"(?:No module named|import of) '?([\w.]+)'?",
        "the module {0} is missing",
        install_module,
    ),
    Rule(
        r"no config file (\S+)",
        "{0}, a config of this package, is missing: its installation is incomplete",
        lambda match: "pip install --force-reinstall --no-deps uniformer-mm",
    ),
    Rule(
        r"CUDA out of memory|out of memory",
        "the GPU's memory is taken, maybe by another process",
        lambda match: "nvidia-smi shows by whom; CUDA_VISIBLE_DEVICES= runs on the CPU",
    ),
    Rule(
        r"no kernel image is available|sm_\d+ is not compatible",
        "this torch has no kernels for this GPU",
        lambda match: (
            f"pip install --force-reinstall torch torchvision --index-url {TORCH_INDEX}/"
            "cuNNN with a newer (or for an old GPU an older) CUDA"
        ),
    ),
    Rule(
        r"No space left on device",
        "the folder of temporary files is full",
        lambda match: "make room, or choose another one: TMPDIR=FOLDER",
    ),
    Rule(
        r"DefaultCPUAllocator: can't allocate|MemoryError",
        "the machine's memory is full",
        lambda match: "end other processes",
    ),
)


def explain(error: BaseException) -> tuple[str, str]:
    """Cause and remedy of an error of the stack."""
    texts = []
    link: BaseException | None = error
    while link is not None:
        texts.append(f"{type(link).__name__}: {link}")
        link = link.__cause__ or link.__context__
    # What came first is closer to the cause than what it led to.
    for text in reversed(texts):
        for rule in RULES:
            match = re.search(rule.pattern, text, re.DOTALL)
            if match:
                cause = rule.cause.format(*(group or "" for group in match.groups()))
                return f"{cause} ({one_line(text)})", rule.remedy(match)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" (raised in {frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{one_line(texts[0])}{place}", REPORT


def one_line(text: str, limit: int = 300) -> str:
    """The beginning of a text, without line breaks."""
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[:limit]} ..."
