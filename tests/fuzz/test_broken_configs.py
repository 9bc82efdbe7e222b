"""Faults in configs are refused in one line that names them."""

import inspect
import shutil
import sys
from pathlib import Path

import pytest
import torch
from damage import ARCH, odd_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from profiles import share
from running import run_inside
from small_models import DETECTOR

from uniformer_mm.errors import UserError
from uniformer_mm.models import UniFormer, UniFormerLight
from uniformer_mm.models.archs import ARCH_DEFAULTS, LIGHT_DEFAULTS

BACKBONES = {
    "image": (UniFormer, {"attention": "hybrid", "window_size": 2}, ARCH_DEFAULTS),
    "video": (UniFormer, {"dims": 3}, ARCH_DEFAULTS),
    "light": (UniFormerLight, {}, LIGHT_DEFAULTS),
    "light video": (UniFormerLight, {"dims": 3, "class_token": True}, LIGHT_DEFAULTS),
}
"""Class, valid options, and the keys of its archs."""


@share(100)
@given(st.sampled_from(sorted(BACKBONES)), st.data())
def test_options_of_a_backbone_are_refused_by_name_or_give_one_that_works(name, data):
    kind, options, defaults = BACKBONES[name]
    names = [*inspect.signature(kind).parameters]
    changed = data.draw(odd_settings(names))
    inside = data.draw(odd_settings([*defaults], most=1))
    options = {"arch": {**ARCH, **inside}, **options, **changed}
    if "arch" in changed:
        inside = {}
    try:
        model = kind(**options)
        model.init_weights()
    except (ValueError, UserError) as error:
        message = str(error)
        assert message.isprintable()
        assert any(culprit in message for culprit in (*changed, *inside))
        return
    for option, value in changed.items():
        flag = inspect.signature(kind).parameters[option].annotation is bool
        assert not flag or isinstance(value, bool), f"{option} is read as {bool(value)}"
    size = (3, 32, 48) if model.dims == 3 else (32, 48)
    with torch.no_grad():
        model.train()(torch.ones(2, model.in_channels, *size))
        model.eval()(torch.ones(1, model.in_channels, *size))


FILES = {
    "syntax": ("model = dict(", "SyntaxError"),
    "empty": ("", "as model"),
    "binary": ("\0\x80", "config.py"),
    "list": ("model = []", "as model"),
    "absent base": ("_base_ = 'nowhere.py'", "nowhere.py"),
    "absent package": ("_base_ = 'mmdet::nowhere.py'", "config.py"),
    "own base": ("_base_ = './config.py'", "back to the same file"),
    "number as base": ("_base_ = 5", "config.py"),
    "failing": ("value = 1 / 0", "ZeroDivisionError"),
    "ending": ("import sys; sys.exit(0)", "SystemExit"),
    "reserved name": (f"{DETECTOR}filename = 'x'", "filename is reserved"),
    "absent module": (f"{DETECTOR}custom_imports = dict(imports=['nowhere'])", "nowhere"),
    "no model": (f"{DETECTOR}model = dict(_delete_=True)", "model"),
    "no data": (f"{DETECTOR}train_dataloader = None", "train_dataloader"),
    "no dataset": (f"{DETECTOR}train_dataloader = dict(_delete_=True)", "train_dataloader.dataset"),
    "no loop": (f"{DETECTOR}train_cfg = None", "train_cfg"),
    "no optimizer": (f"{DETECTOR}optim_wrapper = None", "optim_wrapper"),
    "no scope": (f"{DETECTOR}default_scope = None", "default_scope"),
    "no environment": (f"{DETECTOR}env_cfg = 5", "env_cfg"),
    "number as hooks": (f"{DETECTOR}custom_hooks = 5", "custom_hooks"),
    "unknown hook": (f"{DETECTOR}custom_hooks = [dict(type='Nowhere')]", "Nowhere"),
}
"""Content of a config file, and the fact that its error must have."""

SETTINGS = {
    "model.backbone.arch=tiny": "arch must be",
    "model.backbone.window_size=0": "window_size",
    "model.backbone.type=mmengine.Nowhere": "mmengine.Nowhere",
    "model.backbone.head_dim=48": "head_dim",
    "model.backbone.depth=3": "'depth'",
    "model.backbone.attention=swin": "attention",
    "model.backbone.init_cfg=5": "init_cfg",
    "model.type=Nowhere": "Nowhere",
    "model.backbone.in_channels=4": "in_channels=4",
    "model.backbone.out_indices=(0,1)": "fpn.py",
    "model.neck.in_channels=[1,2,3,4]": "in_channels",
    "model.neck.in_channels=32": "FPN: AssertionError: expected isinstance(in_channels, list)",
    "model.roi_head.bbox_head.num_classes=3": "model.roi_head.bbox_head.num_classes=3",
    "model.rpn_head.in_channels=7": "in_channels",
    "train_dataloader.batch_size=0": "batch_size",
    "train_dataloader.num_workers=-1": "num_workers",
    "train_dataloader.dataset.type=Nowhere": "Nowhere",
    "train_dataloader.dataset.data_prefix=5": "data_prefix",
    "train_dataloader.dataset.pipeline=5": "pipeline",
    "train_dataloader.dataset.pipeline.2.type=Nowhere": "Nowhere",
    "train_dataloader.dataset.pipeline.99.scale=1": "cfg_options",
    "train_cfg.max_epochs=0": "train_cfg.max_epochs",
    "train_cfg.val_begin=x": "train_cfg.val_begin",
    "train_cfg.type=Nowhere": "Nowhere",
    "optim_wrapper.optimizer.type=Nowhere": "optim_wrapper",
    "optim_wrapper.optimizer.lr=-1": "learning rate",
    "param_scheduler.0.type=Nowhere": "Nowhere",
    "val_evaluator.metric=nonsense": "nonsense",
    "default_scope=nowhere": "default_scope",
    "default_hooks=5": "default_hooks",
    "default_hooks.checkpoint.interval=x": "default_hooks.checkpoint.interval",
    "load_from=nowhere.pth": "nowhere.pth",
    "load_from=5": "load_from",
    "model=None": "model",
}
"""An option that cannot be trained, and the fact that its error must have."""


@pytest.fixture(scope="module")
def trainer(synthetic_folder, tmp_path_factory):
    """Trains with the content of a config file and options, and returns the working directory."""
    folder = tmp_path_factory.mktemp("configs")
    coco = synthetic_folder / "data" / "synthetic" / "coco"
    data = ("--coco", coco / "train2017", coco / "annotations" / "instances_train2017.json")

    def train(content, *options):
        shutil.rmtree(folder / "work", ignore_errors=True)
        (folder / "config.py").write_text(content)
        arguments = ["--cfg-options", *options] if options else []
        command = ("train.py", folder / "config.py", "--work-dir", folder / "work", *data)
        return run_inside(*command, *arguments), folder / "work"

    return train


def assert_refused(trainer, capsys, culprit, *config):
    status, work_dir = trainer(*config)
    error = capsys.readouterr().err.partition("error: ")[2]
    assert status == 2
    assert culprit in error
    assert len(error.splitlines()) == 1
    assert not list(work_dir.glob("*.pth"))


@pytest.mark.stack
@pytest.mark.parametrize("name", FILES)
def test_files_are_refused(trainer, capsys, name):
    content, culprit = FILES[name]
    assert_refused(trainer, capsys, culprit, content)


SMALL_IMAGES = "train_dataloader.dataset.pipeline.2.scale=(96,96)"
OWN_MODULE = """
import torch
from mmengine.model import BaseModule
from mmengine.registry import HOOKS, MODELS, TRANSFORMS

LENGTH = {at_import}

@MODELS.register_module(force=True)
class OwnBackbone(BaseModule):
    def __init__(self, depth):
        super().__init__()
        self.layer = torch.nn.Linear(8, 8)
        self.length = {in_init}

    def forward(self, x):
        return self.layer(x)

@TRANSFORMS.register_module(force=True)
class OwnStep:
    def __call__(self, results):
        return results["nothing"]
"""
BUGS = {
    "at import": ({"at_import": "None + 1"}, TypeError, "was read"),
    "in a constructor": ({"in_init": "None.length"}, AttributeError, "OwnBackbone was built"),
    "in a call": ({"in_init": "torch.nn.Linear('a', 8)"}, TypeError, "OwnBackbone was built"),
    "a check of its own": ({"in_init": "int('x')"}, ValueError, "OwnBackbone was built"),
    "in the forward pass": ({}, RuntimeError, ""),
}
"""A fault in a user's own module, its error, and a part of the hint."""


def own_config(folder, monkeypatch, **code):
    """A config with a backbone from a user's own module, which is imported again."""
    content = OWN_MODULE.format(**{"at_import": 0, "in_init": 0, **code})
    (folder / "own_module.py").write_text(content)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "own_module", raising=False)
    backbone = "dict(_delete_=True, type='mmengine.OwnBackbone', depth=3)"
    imports = "custom_imports = dict(imports=['own_module'])"
    return f"{DETECTOR}{imports}\nmodel['backbone'] = {backbone}\n"


@pytest.mark.stack
@pytest.mark.parametrize("name", BUGS)
def test_bugs_in_a_users_module_keep_their_traceback(trainer, tmp_path, monkeypatch, name):
    code, kind, hint = BUGS[name]
    config = own_config(tmp_path, monkeypatch, **code)
    with pytest.raises(kind) as caught:
        trainer(config, SMALL_IMAGES)
    assert any(Path(entry.path).name == "own_module.py" for entry in caught.traceback)
    assert hint in "".join(getattr(caught.value, "__notes__", ()))


@pytest.mark.stack
def test_an_error_that_may_be_a_bug_keeps_its_traceback(trainer):
    with pytest.raises(ZeroDivisionError) as caught:
        trainer(DETECTOR, "model.neck.out_channels=0")
    assert "while model_weights was built from the config" in "".join(caught.value.__notes__)


@pytest.mark.stack
def test_an_option_that_a_users_module_does_not_have_is_refused(
    trainer, tmp_path, monkeypatch, capsys
):
    config = own_config(tmp_path, monkeypatch)
    assert_refused(trainer, capsys, "'width'", f"{config}model['backbone']['width'] = 3\n")
    config = config.replace("depth=3", "")
    assert_refused(trainer, capsys, "'depth'", config)


@pytest.mark.stack
@settings(
    share(6), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.sampled_from(sorted(SETTINGS)))
def test_settings_are_refused(trainer, capsys, setting):
    assert_refused(trainer, capsys, SETTINGS[setting], DETECTOR, setting)


@pytest.mark.parametrize("suffix", [".yaml", ".yml"])
def test_code_in_yaml_is_refused_before_anything_runs(tmp_path, capsys, suffix):
    path = tmp_path / f"evil{suffix}"
    path.write_text(f"model: !!python/object/apply:os.system ['touch {tmp_path / 'ran'}']")
    assert run_inside("train.py", path, "--synthetic") == 2
    assert str(path) in capsys.readouterr().err.partition("error: ")[2]
    assert not (tmp_path / "ran").exists()
