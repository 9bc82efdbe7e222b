"""Every kind of checkpoint, loaded by mmengine's Runner in every way.

The models have the state-dict keys of the codebases' models and no more; the files have the
official keys. Configs have what a user's own config has: the backbone and `FitCheckpointHook`.
"""

import argparse
import re
from dataclasses import replace

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import HOOKS, MODELS
from mmengine.runner import Runner
from runs import forget_runs
from safetensors.torch import save_file
from torch import nn

from uniformer_mm.checkpoints import CheckpointError, download
from uniformer_mm.checkpoints.zoo import list_models

TINY = {"depths": (1, 1, 1, 1), "embed_dims": (16, 16, 32, 32), "head_dim": 16}
UNIFORMER = {"type": "mmengine.UniFormer", "arch": TINY}
LIGHT = {"type": "mmengine.UniFormerLight", "arch": TINY, "output_norm": "batch"}

# name of a model: (its backbone, layers outside of it with their inputs and outputs)
MODELS_OF = {
    "classifier": ({**UNIFORMER, "output_norm": "batch"}, {"head.fc": (32, 5)}),
    "token labelling": (
        {**UNIFORMER, "output_norm": "batch"},
        {"head.fc": (32, 5), "head.aux_fc": (32, 5)},
    ),
    "lightweight classifier": (
        {**LIGHT, "class_token": True},
        {"head.fc": (32, 5), "head.class_token_fc": (32, 5)},
    ),
    "recognizer": ({**UNIFORMER, "dims": 3}, {"cls_head.fc_cls": (32, 5)}),
    "lightweight recognizer": (
        {**LIGHT, "dims": 3, "class_token": True},
        {"cls_head.fc_cls": (32, 5), "cls_head.class_token_fc": (32, 5)},
    ),
    "pose": ({**UNIFORMER, "out_indices": (3,)}, {"head.final_layer": (32, 17)}),
    "detector": (UNIFORMER, {"neck.fpn": (32, 8), "roi_head.bbox_head.fc_cls": (8, 4)}),
    "segmenter": (UNIFORMER, {"decode_head.conv_seg": (32, 5)}),
}
OFFICIAL = {
    **{
        "head.fc.": "head.",
        "cls_head.fc_cls.": "head.",
        "backbone.": "",
        "head.aux_fc.": "aux_head.",
    },
    **{f"{head}.class_token_fc.": "head_cls." for head in ("head", "cls_head")},
}
POSE_0 = {"head.": "keypoint_head."}
STATE = "the state dict"
MM_1 = {"meta": {"epoch": 12, "mmcv_version": "1.3.9", "CLASSES": ("a", "b")}, "state_dict": STATE}
ARGS = argparse.Namespace(lr=1e-3, model="uniformer_small")

# name of a file: (model that it is of, prefixes of its keys, prefix of all, content)
FILES = {
    "ImageNet": ("classifier", OFFICIAL, "", {"model": STATE}),
    "ImageNet, flat": ("classifier", OFFICIAL, "", STATE),
    "ImageNet, as trained": (
        *("classifier", OFFICIAL, ""),
        {"model": STATE, "optimizer": {"param_groups": [{"lr": 1e-3}]}, "epoch": 299, "args": ARGS},
    ),
    "token labelling": (
        *("token labelling", OFFICIAL, ""),
        {"arch": "uniformer_small", "state_dict": STATE, "args": ARGS},
    ),
    "token labelling, flat": ("token labelling", OFFICIAL, "module.", STATE),
    "lightweight ImageNet": ("lightweight classifier", OFFICIAL, "", {"model": STATE}),
    "SlowFast": (
        *("recognizer", OFFICIAL, ""),
        {"epoch": 99, "model_state": STATE, "optimizer_state": {}, "cfg": "text"},
    ),
    "lightweight SlowFast": ("lightweight recognizer", OFFICIAL, "", {"model_state": STATE}),
    "mmaction2's port": ("recognizer", {}, "", {"state_dict": STATE, "meta": {}}),
    "mmaction2's ImageNet": ("classifier", OFFICIAL, "", {"state_dict": STATE}),
    "mmpose 0.x": ("pose", POSE_0, "", {**MM_1, "optimizer": {}}),
    "mmpose's port": ("pose", {}, "", MM_1),
    "mmdet 2.x": ("detector", {}, "", {**MM_1, "amp": {}}),
    "mmdet 2.x, distributed": ("detector", {}, "module.", MM_1),
    "mmseg 0.x": ("segmenter", {}, "", {**MM_1, "optimizer": {}}),
    "our own": ("segmenter", {}, "", {"meta": {}, "state_dict": STATE, "message_hub": {}}),
}


def file_content(name, state):
    """The content of a file, made of the tensors of its model."""
    kind, prefixes, prefix, content = FILES[name]
    if kind == "pose":  # official ones have a norm at every output, though they use the last only
        state = {**state, **{f"backbone.norm{i}.weight": torch.ones(16) for i in (1, 2, 3)}}
    renamed = {}
    for key, tensor in state.items():
        old = next((old for old in prefixes if key.startswith(old)), "")
        renamed[prefix + prefixes.get(old, "") + key.removeprefix(old)] = tensor
    if content is STATE:
        return renamed
    return {key: renamed if value is STATE else value for key, value in content.items()}


@MODELS.register_module()
class TinyModel(BaseModel):
    """A backbone and linear layers by their dotted names; its loss is the sum of all outputs."""

    def __init__(self, backbone, layers):
        super().__init__()
        self.backbone = MODELS.build(backbone)
        for name, (inputs, outputs) in layers.items():
            *path, last = name.split(".")
            parent = self
            for part in path:
                if not hasattr(parent, part):
                    parent.add_module(part, nn.Module())
                parent = getattr(parent, part)
            parent.add_module(last, nn.Linear(inputs, outputs))

    def forward(self, inputs, mode="tensor"):
        return {"loss": sum(p.sum() for p in self.parameters())} if mode == "loss" else [inputs]


@HOOKS.register_module()
class WeightsAtStart(Hook):
    """Keeps a copy of what a training or a test begins with."""

    def before_train(self, runner):
        self.state = {k: v.clone() for k, v in runner.model.state_dict().items()}

    before_test = before_train


def make_model(kind, seed):
    torch.manual_seed(seed)
    backbone, layers = MODELS_OF[kind]
    model = TinyModel(backbone, layers)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(torch.rand_like(tensor))
    return model


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Starts a run as a codebase's tools do; what the model began with, and the log."""
    # What takes long: asking compilers for their versions, and formatting the config for the log.
    monkeypatch.setattr("mmengine.runner.runner.collect_env", dict)
    monkeypatch.setattr(Config, "pretty_text", "")

    def start(mode, kind="segmenter", init_cfg=None, hook=None, **settings):
        forget_runs()
        backbone, layers = MODELS_OF[kind]
        backbone = {**backbone, "init_cfg": init_cfg}
        sampler = {"type": "DefaultSampler", "shuffle": False}
        loader = {"dataset": [{"inputs": torch.ones(1)}], "sampler": sampler, "batch_size": 1}
        hooks = [] if hook is None else [{"type": "mmengine.FitCheckpointHook", **hook}]
        cfg = {
            "custom_imports": {"imports": ["uniformer_mm"]},
            "model": {"type": "TinyModel", "backbone": backbone, "layers": layers},
            "work_dir": str(tmp_path / "work"),
            "train_dataloader": loader,
            "train_cfg": {"by_epoch": True, "max_epochs": 1},
            "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 1.0}},
            "test_dataloader": loader,
            "test_cfg": {},
            "test_evaluator": {"type": "DumpResults", "out_file_path": f"{tmp_path}/out.pkl"},
            "custom_hooks": [{"type": "WeightsAtStart"}, *hooks],
            **settings,
        }
        runner = Runner.from_cfg(Config(cfg))
        getattr(runner, mode)()
        log = next((tmp_path / "work" / runner.timestamp).glob("*.log")).read_text()
        state = next(h for h in runner.hooks if isinstance(h, WeightsAtStart)).state
        return state, log

    return start


@pytest.fixture
def made(tmp_path):
    """Writes one of the files; its path and the tensors of the model that it was made of."""

    def write(name, suffix=".pth"):
        state = make_model(FILES[name][0], seed=1).state_dict()
        path = tmp_path / f"weights{suffix}"
        save = torch.save if suffix == ".pth" else save_file
        save(file_content(name, state), path)
        return path, state

    return write


def same(state, expected, prefix=""):
    return all(torch.equal(state[n], t) for n, t in expected.items() if n.startswith(prefix))


@pytest.mark.parametrize("way", ["init_cfg", "test"])
@pytest.mark.parametrize("file", FILES)
def test_every_file_loads_as_it_is(run, made, file, way):
    path, expected = made(file)
    kind = FILES[file][0]
    if way == "init_cfg":
        init_cfg = {"type": "Pretrained", "checkpoint": str(path)}
        state, log = run("train", kind, init_cfg=init_cfg)
        assert same(state, expected, "backbone.")
    else:
        state, log = run(way, kind, hook={}, load_from=str(path))
        assert same(state, expected)
    # One report, and no other words on what matched.
    total = sum(name.startswith("backbone.") for name in expected)
    total = total if way == "init_cfg" else len(expected)
    assert log.count(f"loaded {total} tensors from {path}") == 1
    assert "do not match exactly" not in log


@pytest.mark.parametrize(
    ("source", "suffix", "way"),
    [
        ("path", ".safetensors", "init_cfg"),
        ("http", ".pth", "load_from"),
        ("hub", ".pth", "init_cfg"),
        ("hub", ".safetensors", "load_from"),
        ("zoo", ".pth", "init_cfg"),
        ("zoo", ".safetensors", "load_from"),
    ],
)
def test_every_source_loads(run, made, server, hub, monkeypatch, source, suffix, way):
    path, expected = made("ImageNet, flat", suffix)
    (hub / "owner" / "name" / "resolve").mkdir(parents=True)
    (hub / "owner" / "name" / "resolve" / "main").symlink_to(path.parent)
    url = f"{server}/{path.name}"
    model = replace(list_models()[0], name="a_zoo_name", weights=url)
    monkeypatch.setattr(download, "list_models", lambda: [model])
    checkpoint = {
        "path": str(path),
        "http": url,
        "hub": f"hf://owner/name/{path.name}",
        "zoo": "a_zoo_name",
    }[source]
    if way == "init_cfg":
        init_cfg = {"type": "Pretrained", "checkpoint": checkpoint}
        state, _ = run("train", "classifier", init_cfg=init_cfg)
    else:
        state, _ = run("train", "classifier", hook={}, load_from=checkpoint)
    assert same(state, expected, "backbone.")


def test_image_weights_are_inflated_for_a_video_model(run, made):
    path, images = made("ImageNet")
    state, log = run("train", "recognizer", hook={"new_heads": True}, load_from=str(path))
    kernel = images["backbone.blocks1.0.attn.weight"]
    assert all(
        torch.equal(frame, kernel / 5)
        for frame in state["backbone.blocks1.0.attn.weight"].unbind(2)
    )
    assert re.search(r"inflated.*: backbone\.patch_embed1\.proj\.weight", log)


def test_heads_of_other_classes_are_initialized_only_when_asked_for(run, made):
    path, expected = made("SlowFast")
    backbone, _ = MODELS_OF["recognizer"]
    other = {"type": "TinyModel", "backbone": backbone, "layers": {"cls_head.fc_cls": (32, 7)}}
    for mode in ("train", "test"):
        with pytest.raises(
            CheckpointError, match=r"(?s)\(5, 32\) instead of \(7, 32\).*--new-heads"
        ):
            run(mode, hook={}, load_from=str(path), model=other)
    state, log = run("train", hook={"new_heads": True}, load_from=str(path), model=other)
    assert same(state, expected, "backbone.")
    assert re.search(r"  2 .*init.*: cls_head\.fc_cls\.weight", log)
    with pytest.raises(CheckpointError, match="number of classes"):
        run("test", hook={"new_heads": True}, load_from=str(path), model=other)


def test_a_backbone_is_enough_to_train_from_but_not_to_test(run, made):
    path, images = made("ImageNet")
    state, log = run("train", "detector", hook={}, load_from=str(path))
    assert same(state, {n: t for n, t in images.items() if ".blocks" in n})
    assert re.search(r"dropped.*: backbone\.norm\.bias", log)
    for mode, hook in (("test", {}), ("train", {"exact": True})):
        with pytest.raises(CheckpointError, match=r"(?s)missing keys: .*a backbone only"):
            run(mode, "detector", hook=hook, load_from=str(path))


def test_without_the_hook_mmengine_loads_what_it_knows_and_says_so(run, made, capsys):
    path, _ = made("ImageNet")
    run("train", "classifier", load_from=str(path))
    assert "missing keys in source state_dict: backbone.patch_embed1." in capsys.readouterr().out
    path, expected = made("mmseg 0.x")
    assert same(run("train", load_from=str(path))[0], expected)


def test_training_writes_the_head_dim_and_loading_checks_it(run, tmp_path):
    run("train", hook={})
    path = tmp_path / "work" / "epoch_1.pth"
    content = torch.load(path)
    assert content["meta"]["uniformer"]["head_dim"] == 16
    content["meta"]["uniformer"]["head_dim"] = 32
    torch.save(content, path)
    for settings in (
        {"init_cfg": {"type": "Pretrained", "checkpoint": str(path)}},
        {"hook": {}, "load_from": str(path)},
    ):
        with pytest.raises(CheckpointError, match=r"epoch_1\.pth .* 32 .* 16: set head_dim=32"):
            run("train", **settings)


def test_training_resumes_with_all_that_was_saved_or_not_at_all(run, tmp_path):
    one, _ = run("train", hook={})
    saved = tmp_path / "work" / "epoch_1.pth"
    two, _ = run("train", hook={}, resume=True, train_cfg={"by_epoch": True, "max_epochs": 2})
    assert same(two, torch.load(saved)["state_dict"])
    assert not same(two, one)

    content = torch.load(saved)
    for key in ("optimizer", "message_hub", "meta"):
        incomplete = {k: v for k, v in content.items() if k != key}
        torch.save(incomplete, tmp_path / "incomplete.pth")
        with pytest.raises(CheckpointError, match=rf"resume from .*incomplete\.pth: .*{key}"):
            run("train", hook={}, resume=True, load_from=str(tmp_path / "incomplete.pth"))
    older = {k: v for k, v in content["meta"].items() if k != "uniformer"}
    torch.save({**content, "meta": older}, tmp_path / "older.pth")
    with pytest.raises(CheckpointError, match=r"cannot resume from .*older\.pth: "):
        run("train", hook={}, resume=True, load_from=str(tmp_path / "older.pth"))
    del content["state_dict"]["decode_head.conv_seg.weight"]
    torch.save(content, tmp_path / "changed.pth")
    with pytest.raises(CheckpointError, match=r"1 missing keys: decode_head\.conv_seg\.weight"):
        run("train", hook={}, resume=True, load_from=str(tmp_path / "changed.pth"))


def test_a_moving_average_starts_from_what_was_loaded(run, made):
    path, expected = made("mmseg 0.x")
    average = {"type": "EMAHook", "priority": "NORMAL", "strict_load": True}
    hooks = [{"type": "WeightsAtStart"}, {"type": "mmengine.FitCheckpointHook"}, average]
    state, log = run("train", custom_hooks=hooks, load_from=str(path))
    assert same(state, expected)
    assert "do not match exactly" not in log


class Evil:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize(
    ("way", "source"),
    [("init_cfg", "hub"), ("train", "path"), ("test", "http"), ("resume", "path")],
)
def test_code_in_a_checkpoint_never_runs(run, tmp_path, server, hub, way, source):
    folder = hub / "owner" / "name" / "resolve" / "main"
    folder.mkdir(parents=True)
    for path in (tmp_path / "evil.pth", folder / "evil.pth"):
        torch.save({"state_dict": {"a": Evil(tmp_path / "ran")}, "meta": {}}, path)
    checkpoint = {
        "path": str(tmp_path / "evil.pth"),
        "http": f"{server}/evil.pth",
        "hub": "hf://owner/name/evil.pth",
    }[source]
    settings = {
        "init_cfg": {"init_cfg": {"type": "Pretrained", "checkpoint": checkpoint}},
        "resume": {"hook": {}, "load_from": checkpoint, "resume": True},
    }.get(way, {"hook": {}, "load_from": checkpoint})
    with pytest.raises(CheckpointError, match=r"evil\.pth.* asks for \S*open"):
        run("test" if way == "test" else "train", **settings)
    assert not (tmp_path / "ran").exists()
