"""Fixtures that need an interpreter in which nothing of the stack has been imported yet."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from subprocess import CompletedProcess

import pytest

RunPython = Callable[[str], CompletedProcess[str]]

CODEBASES = ("mmdet", "mmseg", "mmpose", "mmaction", "mmpretrain")

IMPORT_ALL = """
import json
from uniformer_mm.compat import repair_stack
repair_stack()
import mmdet.apis, mmseg.apis, mmpose.apis, mmaction.apis, mmpretrain.apis
import mmcv._ext, mmcv.utils, mmaction.models.localizers.drn
from mmaction.registry import MODELS
try:
    MODELS.build(dict(type="DRN"))
    drn_error = ""
except NotImplementedError as error:
    drn_error = str(error)
print(json.dumps(dict(
    drn_file=mmaction.models.localizers.drn.__file__,
    drn_error=drn_error,
    ext_file=mmcv._ext.__file__,
    compiler=mmcv.utils.collect_env()["MMCV Compiler"],
)))
"""


@pytest.fixture(scope="session")
def run_python(tmp_path_factory: pytest.TempPathFactory) -> RunPython:
    """Function that runs code in a fresh interpreter.

    The interpreters share a cache of compiled bytecode that starts empty, so the compiler's
    warnings are seen once and the time is spent once.
    """
    environment = dict(os.environ, PYTHONPYCACHEPREFIX=str(tmp_path_factory.mktemp("bytecode")))
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONWARNINGS"):
        environment.pop(name, None)

    def run(code: str) -> CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment
        )

    return run


@pytest.fixture(scope="session")
def all_codebases(run_python: RunPython) -> dict[str, str]:
    """What a fresh interpreter found, and printed to stderr, on importing all five codebases."""
    missing = [name for name in CODEBASES if find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    result = run_python(IMPORT_ALL)
    assert result.returncode == 0, result.stderr
    return {**json.loads(result.stdout.splitlines()[-1]), "stderr": result.stderr}
