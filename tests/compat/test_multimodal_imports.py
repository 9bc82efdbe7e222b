"""mmpretrain and mmaction2 can be imported with a current transformers installed."""

from importlib.util import find_spec

import pytest

from uniformer_mm.compat.multimodal_imports import NEEDS

pytestmark = pytest.mark.slow

FILES = {
    "transformers/__init__.py": "AutoConfig = PreTrainedModel = object",
    "transformers/modeling_utils.py": "",
    "transformers/models/__init__.py": "",
    "transformers/models/auto/__init__.py": "",
    "transformers/models/auto/auto_factory.py": "_BaseAutoModelClass = object",
    "transformers-5.3.0.dist-info/METADATA": "Name: transformers\nVersion: 5.3.0\n",
}
"""A transformers that lacks what multimodal models need."""

IMPORT = "import sys; sys.path.insert(0, {folder!r})\n{repair}\nimport {package}.models"
REPAIR = "from uniformer_mm.compat import repair_stack; repair_stack()"
REPAIR_THE_REST = f"""{REPAIR}
from uniformer_mm.compat.patching import FINDER
del FINDER.patches["mmpretrain.utils.dependency"]
"""
BUILD = """
from {package}.registry import MODELS
from uniformer_mm import compat
from uniformer_mm.compat import multimodal_imports
print(compat.is_active(multimodal_imports))
try:
    MODELS.build(dict(type={model!r}))
except ImportError as error:
    print(error)
"""


@pytest.fixture
def transformers(tmp_path):
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return str(tmp_path)


@pytest.mark.parametrize(("package", "model"), [("mmpretrain", "Llava"), ("mmaction", "VindLUVQA")])
def test_models_import_and_multimodal_ones_say_what_they_need(
    package, model, transformers, run_python
):
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    code = IMPORT.format(folder=transformers, repair=REPAIR, package=package)
    result = run_python(code + BUILD.format(package=package, model=model))
    assert result.returncode == 0, result.stderr
    active, error = result.stdout.splitlines()
    assert active == "True"
    assert "requires extra multi-modal dependencies" in error


@pytest.mark.skipif(find_spec("mmpretrain") is None, reason="mmpretrain is not installed")
def test_it_fails_without_the_repair(transformers, run_python):
    code = IMPORT.format(folder=transformers, repair=REPAIR_THE_REST, package="mmpretrain")
    result = run_python(code)
    assert result.returncode != 0
    assert "transformers" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("package", NEEDS)
def test_a_transformers_that_has_everything_stays_in_use(package, tmp_path, run_python):
    for module, names in NEEDS[package].items():
        path = tmp_path.joinpath(*module.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{name} = object\n" for name in names))
    result = run_python(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from types import ModuleType\n"
        "from uniformer_mm.compat.multimodal_imports import patch\n"
        f"module = ModuleType({package!r} + '.utils.dependency')\n"
        "module.WITH_MULTIMODAL = True\npatch(module)\nprint(module.WITH_MULTIMODAL)\n"
    )
    assert result.stdout == "True\n", result.stderr
