"""Pretrained weights of a backbone are matched by name and reported, and never silently nothing."""

import pytest
import torch
from mmengine.model import PretrainedInit

from uniformer_mm.checkpoints import CheckpointError, load_pretrained
from uniformer_mm.models import UniFormer, UniFormerLight

TINY = {"depths": (1, 1, 2, 1), "embed_dims": (16, 32, 64, 64), "head_dim": 32}
OUTPUT_NORMS = {f"norm{i}.{part}" for i in range(1, 5) for part in ("weight", "bias")}


def make(seed=0, **options):
    torch.manual_seed(seed)
    return UniFormer(**{"arch": TINY, **options})


@pytest.fixture
def classifier_state():
    """A state dict as the ImageNet classifiers have it: BatchNorm at the end, and a head."""
    state = make(seed=1, output_norm="batch").state_dict()
    return {**state, "head.weight": torch.zeros(1000, 64), "head.bias": torch.zeros(1000)}


def saved(tmp_path, content):
    path = tmp_path / "checkpoint.pth"
    torch.save(content, path)
    return str(path)


@pytest.mark.parametrize(
    "init_cfg",
    [
        {"type": "Pretrained"},
        {"type": PretrainedInit},
        [{"type": "Constant", "layer": "LayerNorm", "val": 2.0}, {"type": "Pretrained"}],
    ],
    ids=["dict", "class", "list"],
)
def test_init_cfg_loads_in_all_its_forms(tmp_path, classifier_state, init_cfg):
    path = saved(tmp_path, {"model": classifier_state})
    (init_cfg[-1] if isinstance(init_cfg, list) else init_cfg)["checkpoint"] = path
    model = make(init_cfg=init_cfg)
    model.init_weights()
    for name, tensor in model.state_dict().items():
        if not name.startswith("norm"):
            assert torch.equal(tensor, classifier_state[name]), name
    assert model.norm1.weight[0] == (2 if isinstance(init_cfg, list) else 1)


def test_the_report_names_every_tensor_that_is_not_a_plain_match(tmp_path, classifier_state):
    classifier_state["decoder.weight"] = torch.ones(1)
    report = load_pretrained(make(), saved(tmp_path, classifier_state))
    assert set(report.dropped) >= {"head.weight", "decoder.weight", "norm.weight"}
    assert set(report.kept_at_init) == OUTPUT_NORMS
    first, *lines = str(report).splitlines()
    assert first == f"loaded {len(report.matched)} tensors from {tmp_path}/checkpoint.pth"
    assert [int(line.split()[0]) for line in lines] == [8, 8]
    assert ": decoder.weight, head.bias, head.weight, norm.bias, ..." in lines[0]


def test_fewer_stages_drop_the_others(tmp_path, classifier_state):
    report = load_pretrained(make(out_indices=(0, 1)), saved(tmp_path, classifier_state))
    assert any(name.startswith("blocks4.") for name in report.dropped)


def test_output_norms_that_the_checkpoint_does_not_have_are_initialized(tmp_path):
    """A pose model has the last norm, a detector all four, a classifier another one."""
    path = saved(tmp_path, make(seed=1, out_indices=(3,)).state_dict())
    report = load_pretrained(make(), path)
    assert set(report.kept_at_init) == {n for n in OUTPUT_NORMS if not n.startswith("norm4")}
    report = load_pretrained(make(output_norm="batch"), path)
    assert {name.split(".")[0] for name in report.kept_at_init} == {"norm"}


def test_a_part_of_a_norm_is_not_enough(tmp_path, classifier_state):
    del classifier_state["norm.running_mean"]
    path = saved(tmp_path, classifier_state)
    with pytest.raises(CheckpointError, match=r"1 missing keys: norm\.running_mean"):
        load_pretrained(make(output_norm="batch"), path)


def test_image_weights_are_inflated_to_a_mean_over_time(tmp_path, classifier_state):
    video = make(dims=3).eval()
    report = load_pretrained(video, saved(tmp_path, classifier_state))
    kernel = classifier_state["blocks1.0.attn.weight"]
    for frame in range(5):
        assert torch.equal(video.blocks1[0].attn.weight[:, :, frame], kernel / 5)
    assert "blocks1.0.attn.weight" in report.inflated
    # In the interior of a long still clip a depthwise convolution gives the image's result.
    image = torch.randn(1, 16, 9, 9)
    clip = image.unsqueeze(2).expand(-1, -1, 9, -1, -1)
    torch.testing.assert_close(
        video.blocks1[0].attn(clip)[:, :, 4],
        torch.nn.functional.conv2d(
            image, kernel, classifier_state["blocks1.0.attn.bias"], padding=2, groups=16
        ),
    )


def test_divided_attention_starts_from_images_without_its_temporal_step(tmp_path, classifier_state):
    video = make(dims=3, split=True)
    path = saved(tmp_path, classifier_state)
    report = load_pretrained(video, path)
    assert {name.split(".")[2] for name in report.kept_at_init} == {"t_norm", "t_attn"}
    state = video.state_dict()
    del state["blocks3.0.t_attn.qkv.weight"]
    with pytest.raises(CheckpointError, match=r"1 missing keys: blocks3\.0\.t_attn\.qkv\.weight"):
        load_pretrained(video, saved(tmp_path, state))


LARGER = {**TINY, "depths": (1, 1, 3, 1)}


@pytest.mark.parametrize(
    ("theirs", "ours", "category", "cause"),
    [
        ({}, {"arch": LARGER}, "missing keys: blocks3.2.", ("depths", (1, 1, 2, 1), (1, 1, 3, 1))),
        # All tensors of a small model are in the file of a large one.
        ({"arch": LARGER}, {}, "unexpected keys: ", ("depths", (1, 1, 3, 1), (1, 1, 2, 1))),
        (
            {},
            {"arch": {**TINY, "embed_dims": (16, 32, 96, 64)}},
            "size or dtype mismatch: ",
            ("embed_dims", (16, 32, 64, 64), (16, 32, 96, 64)),
        ),
        ({}, {"arch": {**TINY, "mlp_ratio": 2}}, "", ("mlp_ratio", 4.0, 2.0)),
        ({}, {"arch": {**TINY, "stem": "conv"}}, "", ("stem", "patch", "conv")),
        ({}, {"arch": {**TINY, "downsample": "conv"}}, "", ("downsample", "patch", "conv")),
        ({}, {"layer_scale": "all"}, "gamma_1", ("layer_scale", "none", "all")),
        ({"layer_scale": "global"}, {}, "gamma_1", ("layer_scale", "global", "none")),
        ({"dims": 3}, {}, "", ("dims", 3, 2)),
        ({"dims": 3, "split": True}, {"dims": 3}, "t_attn", ("split", True, False)),
        ({"dims": 3}, {"dims": 3, "std": True}, "", ("std", False, True)),
        ({}, {"qkv_bias": False}, "qkv.bias", ("qkv_bias", True, False)),
        ({}, {"in_channels": 4}, "", ("in_channels", 3, 4)),
        (
            {},
            {"arch": {**TINY, "depths": (3, 4, 8, 3)}},
            "",
            ("depths", (1, 1, 2, 1), "(3, 4, 8, 3) (arch small)"),
        ),
    ],
)
def test_another_architecture_is_named_and_loads_nothing(tmp_path, theirs, ours, category, cause):
    path = saved(tmp_path, make(seed=1, **theirs).state_dict())
    model = make(**ours)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_pretrained(model, path)
    message = str(caught.value)
    option, in_checkpoint, in_model = cause
    assert path in message
    assert category in message
    assert f"{option} {in_checkpoint} in the checkpoint, {in_model} in the model" in message
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_lightweight_checkpoint_is_not_for_the_other_backbone(tmp_path):
    """Its names and shapes are all there, only the class token tells."""
    arch = {**TINY, "stem": "conv", "mlp_ratio": 3}
    path = saved(tmp_path, UniFormerLight(arch).state_dict())
    with pytest.raises(CheckpointError, match=r"(?s)cls_token.*type UniFormerLight in the checkp"):
        load_pretrained(make(arch=arch), path)
    load_pretrained(make(arch=arch, out_indices=(0, 1)), path)


def test_a_modified_file_differs_in_no_option(tmp_path, classifier_state):
    del classifier_state["blocks1.0.conv1.weight"]
    with pytest.raises(CheckpointError, match=r"(?s)blocks1\.0\.conv1\.weight.*no option"):
        load_pretrained(make(), saved(tmp_path, classifier_state))


def test_layer_scale_is_added_when_asked_for(tmp_path, classifier_state):
    model = make(layer_scale="all", layer_scale_init=0.1)
    path = saved(tmp_path, classifier_state)
    report = load_pretrained(model, path, may_miss=["gamma_1", "gamma_2"])
    assert "blocks1.0.gamma_1" in report.kept_at_init
    assert model.blocks1[0].gamma_1.eq(0.1).all()


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    path = saved(tmp_path, {"layer1.0.conv1.weight": torch.ones(1)})
    with pytest.raises(CheckpointError, match=r"it has layer1\.0\.conv1\.weight"):
        load_pretrained(make(), path)
    with pytest.raises(CheckpointError, match=r"no tensors in .*checkpoint\.pth"):
        load_pretrained(make(), saved(tmp_path, {"epoch": 3}))


def test_a_prefix_is_removed(tmp_path):
    source = make(seed=1)
    state = {f"module.encoder.{name}": tensor for name, tensor in source.state_dict().items()}
    path = saved(tmp_path, {**state, "module.head.weight": torch.ones(1)})
    for prefix in ("encoder", "encoder.", "module.encoder."):
        model = make()
        load_pretrained(model, path, prefix=prefix)
        assert torch.equal(model.norm4.weight, source.norm4.weight)
        assert torch.equal(model.blocks1[0].conv1.weight, source.blocks1[0].conv1.weight)
    with pytest.raises(CheckpointError, match=r"'student\.': it has module\.encode"):
        load_pretrained(make(), path, prefix="student")
