"""mmpretrain and mmaction2 can be imported with a current transformers installed."""

import json
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

REPAIR = "from uniformer_mm.compat import repair_stack; repair_stack()"
BUILD = f"""
{REPAIR}
import json
from importlib import import_module
from uniformer_mm import compat
from uniformer_mm.compat import multimodal_imports
errors = []
for package, model in {{models}}:
    import_module(package + ".models")
    try:
        import_module(package + ".registry").MODELS.build(dict(type=model))
    except ImportError as error:
        errors.append(str(error))
print(json.dumps([compat.is_active(multimodal_imports), errors]))
"""
IMPORT_UNREPAIRED = f"""
{REPAIR}
from uniformer_mm.compat.patching import FINDER
del FINDER.patches["mmpretrain.utils.dependency"]
import mmpretrain.models
"""


@pytest.fixture
def transformers(tmp_path):
    """Code that puts this transformers first."""
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"


def test_models_import_and_multimodal_ones_say_what_they_need(transformers, run_python):
    models = [("mmpretrain", "Llava"), ("mmaction", "VindLUVQA")]
    models = [(package, model) for package, model in models if find_spec(package)]
    if not models:
        pytest.skip("neither mmpretrain nor mmaction2 is installed")
    result = run_python(transformers + BUILD.format(models=models))
    assert result.returncode == 0, result.stderr
    active, errors = json.loads(result.stdout)
    assert active
    assert len(errors) == len(models)
    assert all("requires extra multi-modal dependencies" in error for error in errors)


@pytest.mark.skipif(find_spec("mmpretrain") is None, reason="mmpretrain is not installed")
def test_it_fails_without_the_repair(transformers, run_python):
    result = run_python(transformers + IMPORT_UNREPAIRED)
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
