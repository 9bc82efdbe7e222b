"""Fixtures that need an interpreter in which nothing of the stack has been imported yet."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

RunPython = Callable[..., CompletedProcess[str]]

CODEBASES = ("mmdet", "mmseg", "mmpose", "mmaction", "mmpretrain")
HEAVY = ("mmcv", *CODEBASES, "torchvision", "cv2")

IMPORT_ALL = f"""
import json, sys
import uniformer_mm
heavy = [name for name in {HEAVY} if name in sys.modules]
from uniformer_mm.compat.supplying import FINDER
last_finder = sys.meta_path[-1] is FINDER
import mmdet.apis, mmseg.apis, mmpose.apis, mmaction.apis, mmpretrain.apis
import mmcv._ext, mmcv.utils, mmaction.models.localizers.drn
from mmaction.registry import MODELS
try:
    MODELS.build(dict(type="DRN"))
    drn_error = ""
except NotImplementedError as error:
    drn_error = str(error)
print(json.dumps(dict(
    heavy=heavy,
    last_finder=last_finder,
    drn_file=mmaction.models.localizers.drn.__file__,
    drn_error=drn_error,
    ext_file=mmcv._ext.__file__,
    compiler=mmcv.utils.collect_env()["MMCV Compiler"],
)))
"""

FORK = """
import json, os, sys
import torch, mmengine.optim
for line in sys.stdin:
    code, argv, *outputs = json.loads(line)
    if os.fork():
        print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
        continue
    for number, path in enumerate(outputs, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.argv[1:] = argv
    exec(code, {"__name__": "__main__"})
    break
"""
"""Runs each piece of code in a fork of an interpreter that has imported torch and mmengine."""


def environment() -> dict[str, str]:
    hidden = ("PYTHONDONTWRITEBYTECODE", "PYTHONWARNINGS")
    return {name: value for name, value in os.environ.items() if name not in hidden}


@pytest.fixture(scope="session")
def run_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunPython]:
    """Function that runs code where torch and mmengine are imported and `uniformer_mm` is not."""
    files = [str(tmp_path_factory.mktemp("output") / name) for name in ("stdout", "stderr")]
    process = subprocess.Popen(
        [sys.executable, "-c", FORK],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )

    def run(code: str, *argv: str) -> CompletedProcess[str]:
        print(json.dumps([code, argv, *files]), file=process.stdin, flush=True)
        status = int(process.stdout.readline())
        return CompletedProcess(code, status, *(Path(file).read_text() for file in files))

    with process:
        yield run
        # Forked children of this process, data loader workers say, may still hold its input open.
        process.terminate()


@pytest.fixture(scope="session")
def all_codebases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a fresh interpreter found, and printed to stderr, on importing all five codebases."""
    missing = [name for name in CODEBASES if find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    settings = environment()
    if sys.version_info >= (3, 12):  # the compiler warns about invalid escapes visibly
        settings["PYTHONPYCACHEPREFIX"] = str(tmp_path_factory.mktemp("bytecode"))
    result = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, env=settings
    )
    assert result.returncode == 0, result.stderr
    return {**json.loads(result.stdout.splitlines()[-1]), "stderr": result.stderr}
