"""Pretrained weights of a backbone: matched by name, reported, and never silently nothing."""

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


def test_report_says_what_was_dropped_and_kept(tmp_path, classifier_state):
    classifier_state["decoder.weight"] = torch.ones(1)
    report = load_pretrained(make(), saved(tmp_path, classifier_state))
    assert set(report.dropped) >= {"head.weight", "head.bias", "norm.weight"}
    assert set(report.kept_at_init) == OUTPUT_NORMS
    assert str(report).splitlines() == [
        f"loaded {len(report.matched)} tensors from {tmp_path}/checkpoint.pth",
        "  7 dropped on purpose: head.bias, head.weight, norm.bias, norm.num_batches_tracked, ...",
        "  1 not of a UniFormer, ignored: decoder.weight",
        "  8 left at their initial values on purpose: norm1.weight, norm1.bias, norm2.weight,"
        " norm2.bias, ...",
    ]


def test_fewer_stages_drop_the_others(tmp_path, classifier_state):
    report = load_pretrained(make(out_indices=(0, 1)), saved(tmp_path, classifier_state))
    assert any(name.startswith("blocks4.") for name in report.dropped)


def test_outputs_that_the_checkpoint_did_not_need_start_anew(tmp_path):
    """A pose model has the last norm, a detector all four, a classifier another one."""
    path = saved(tmp_path, make(seed=1, out_indices=(3,)).state_dict())
    report = load_pretrained(make(), path)
    assert set(report.kept_at_init) == {n for n in OUTPUT_NORMS if not n.startswith("norm4")}
    report = load_pretrained(make(output_norm="batch"), path)
    assert {name.split(".")[0] for name in report.kept_at_init} == {"norm"}


def test_a_part_of_a_norm_is_not_enough(tmp_path, classifier_state):
    del classifier_state["norm.running_mean"]
    path = saved(tmp_path, classifier_state)
    with pytest.raises(CheckpointError, match=r"1 missing: norm\.running_mean"):
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
    with pytest.raises(CheckpointError, match=r"1 missing: blocks3\.0\.t_attn\.qkv\.weight"):
        load_pretrained(video, saved(tmp_path, state))


LARGER = {**TINY, "depths": (1, 1, 3, 1)}


@pytest.mark.parametrize(
    ("theirs", "ours", "message"),
    [
        (
            {},
            {"arch": LARGER},
            r"missing: blocks3\.2\..*cause: depths \(1, 1, 2, 1\) in the checkpoint, \(1, 1, 3",
        ),
        # All of a small model's tensors are in the file of a large one.
        (
            {"arch": LARGER},
            {},
            r"no place for: blocks3\.2\..*depths \(1, 1, 3, 1\) in the checkpoi",
        ),
        (
            {},
            {"arch": {**TINY, "embed_dims": (16, 32, 96, 64)}},
            r"another shape or type: .*instead of.*embed_dims \(16, 32, 64, 64\) in the checkpoint",
        ),
        (
            {},
            {"arch": {**TINY, "mlp_ratio": 2}},
            r"mlp_ratio 4\.0 in the checkpoint, 2\.0 in the m",
        ),
        ({}, {"arch": {**TINY, "stem": "conv"}}, "stem patch in the checkpoint, conv in the model"),
        ({}, {"arch": {**TINY, "downsample": "conv"}}, "downsample patch in the checkpoint, conv"),
        (
            {},
            {"layer_scale": "all"},
            r"missing: .*gamma_1.*layer_scale none in the checkpoint, all",
        ),
        (
            {"layer_scale": "global"},
            {},
            r"no place for: .*gamma_1.*layer_scale global in the check",
        ),
        ({"dims": 3}, {}, "cause: dims 3 in the checkpoint, 2 in the model$"),
        ({"dims": 3, "split": True}, {"dims": 3}, "split True in the checkpoint, False in"),
        ({"dims": 3}, {"dims": 3, "std": True}, "std False in the checkpoint, True in the model"),
        ({}, {"qkv_bias": False}, r"no place for: .*qkv\.bias.*qkv_bias True in the checkpoint"),
        ({}, {"in_channels": 4}, "cause: in_channels 3 in the checkpoint, 4 in the model$"),
        (
            {},
            {"arch": {**TINY, "depths": (3, 4, 8, 3)}},
            r"\(3, 4, 8, 3\) \(arch small\) in the mod",
        ),
    ],
)
def test_another_architecture_is_named_and_loads_nothing(tmp_path, theirs, ours, message):
    path = saved(tmp_path, make(seed=1, **theirs).state_dict())
    model = make(**ours)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=f"(?s)does not fit.*nothing was loaded.*{message}"):
        load_pretrained(model, path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_light_checkpoint_is_not_for_the_other_backbone(tmp_path):
    """Its names and shapes are all there, the class token beside them tells."""
    arch = {**TINY, "stem": "conv", "mlp_ratio": 3}
    path = saved(tmp_path, UniFormerLight(arch).state_dict())
    with pytest.raises(CheckpointError, match=r"(?s)cls_token.*type UniFormerLight in the checkp"):
        load_pretrained(make(arch=arch), path)
    load_pretrained(make(arch=arch, out_indices=(0, 1)), path)


def test_a_changed_file_has_no_cause_that_shows(tmp_path, classifier_state):
    del classifier_state["blocks1.0.conv1.weight"]
    with pytest.raises(CheckpointError, match="all settings that show agree"):
        load_pretrained(make(), saved(tmp_path, classifier_state))


def test_layer_scale_is_added_when_asked_for(tmp_path, classifier_state):
    model = make(layer_scale="all", layer_scale_init=0.1)
    path = saved(tmp_path, classifier_state)
    report = load_pretrained(model, path, may_miss=["gamma_1", "gamma_2"])
    assert "blocks1.0.gamma_1" in report.kept_at_init
    assert model.blocks1[0].gamma_1.eq(0.1).all()


def test_foreign_checkpoint_raises(tmp_path):
    path = saved(tmp_path, {"layer1.0.conv1.weight": torch.ones(1)})
    with pytest.raises(CheckpointError, match=r"Nothing matched: it has layer1\.0\.conv1\.weight"):
        load_pretrained(make(), path)
    with pytest.raises(CheckpointError, match=r"no tensors in .*checkpoint\.pth"):
        load_pretrained(make(), saved(tmp_path, {"epoch": 3}))


def test_a_prefix_of_ones_own_is_cut_off(tmp_path):
    source = make(seed=1)
    state = {f"module.encoder.{name}": tensor for name, tensor in source.state_dict().items()}
    path = saved(tmp_path, {**state, "module.head.weight": torch.ones(1)})
    for prefix in ("encoder", "encoder.", "module.encoder."):
        model = make()
        load_pretrained(model, path, prefix=prefix)
        assert torch.equal(model.norm4.weight, source.norm4.weight)
        assert torch.equal(model.blocks1[0].conv1.weight, source.blocks1[0].conv1.weight)
    with pytest.raises(CheckpointError, match=r"has the prefix 'student\.': it has module\.encode"):
        load_pretrained(make(), path, prefix="student")
