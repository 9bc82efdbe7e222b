"""YAML is data, never code, wherever mmengine reads it."""

import pytest
import yaml
from mmengine.config import Config
from mmengine.fileio import dump, load

import uniformer_mm  # noqa: F401
from uniformer_mm.apis.config import load_config
from uniformer_mm.errors import UserError

CODE = """\
model: {{type: X}}
x: !!python/object/apply:{function} [{argument!r}]
"""
EVIL = {
    "os.system": "touch {}",
    "subprocess.check_output": "touch {}",
    "builtins.eval": "open('{}', 'w')",
    "builtins.exec": "open('{}', 'w')",
}


@pytest.fixture(params=EVIL)
def evil(request, tmp_path):
    """A YAML file whose code makes the file `ran`."""
    argument = EVIL[request.param].format(tmp_path / "ran")
    text = CODE.format(function=request.param, argument=argument)
    (tmp_path / "evil.yaml").write_text(text)
    return tmp_path / "evil.yaml"


READERS = {
    "config": lambda path: Config.fromfile(path),
    "text": lambda path: Config.fromstring(path.read_text(), ".yaml"),
    "load": lambda path: load(path),
    "load with a format": lambda path: load(path, file_format="yml"),
    "tools": lambda path: load_config(str(path)),
}


@pytest.mark.parametrize("reader", READERS)
def test_code_in_yaml_does_not_run(evil, reader):
    with pytest.raises((yaml.YAMLError, UserError), match="could not determine a constructor"):
        READERS[reader](evil)
    assert not evil.with_name("ran").exists()


def test_code_in_a_yaml_base_does_not_run(evil):
    for name, text in (("child.yaml", "_base_: evil.yaml"), ("child.py", "_base_ = 'evil.yaml'")):
        child = evil.with_name(name)
        child.write_text(text)
        with pytest.raises(UserError, match="could not determine a constructor"):
            load_config(str(child))
    assert not evil.with_name("ran").exists()


@pytest.mark.parametrize("tag", ["object:os._wrap_close", "name:os.system", "module:os"])
def test_objects_are_refused(tmp_path, tag):
    (tmp_path / "x.yml").write_text(f"x: !!python/{tag} {{}}")
    with pytest.raises(yaml.YAMLError):
        load(tmp_path / "x.yml")


def test_what_mmengine_dumps_is_read_again(tmp_path):
    content = {"a": (1, (2.5, "x")), "b": [None, True], "c": {"d": "é", 3: b"bytes"}}
    dump(content, tmp_path / "x.yaml")
    assert load(tmp_path / "x.yaml") == content
    cfg = Config({"model": {"type": "X", "scale": (1333, 800)}})
    cfg.dump(tmp_path / "cfg.yaml")
    assert Config.fromfile(tmp_path / "cfg.yaml").model.scale == (1333, 800)
