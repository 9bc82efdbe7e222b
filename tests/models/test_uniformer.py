"""What the backbone promises to the codebases that use it."""

import copy
import inspect

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from uniformer_mm.models import ARCHS, LIGHT_ARCHS, UniFormer, UniFormerLight
from uniformer_mm.models.uniformer import DropPath

TINY = {"depths": (1, 1, 4, 1), "embed_dims": (16, 32, 64, 64), "head_dim": 32}
LIGHT = {"depths": (1, 1, 3, 2), "embed_dims": (16, 16, 32, 64), "head_dim": 16}
VARIANTS = {
    "global": (UniFormer, {"attention": "global"}),
    "window": (UniFormer, {"attention": "window", "window_size": 7}),
    "hybrid": (UniFormer, {"attention": "hybrid", "window_size": 7}),
    "some outputs": (UniFormer, {"out_indices": (0, 2)}),
    "classifier": (UniFormer, {"output_norm": "batch"}),
    "plus": (
        UniFormer,
        {"arch": {**TINY, "stem": "conv", "downsample": "conv", "layer_scale": "all"}},
    ),
    "no bias": (UniFormer, {"layer_scale": "global", "qkv_bias": False}),
    "video": (UniFormer, {"dims": 3, "std": True}),
    "divided video": (UniFormer, {"dims": 3, "split": True}),
    "light": (UniFormerLight, {"layer_scale": "all"}),
    "light, some outputs": (UniFormerLight, {"out_indices": (0, 2)}),
    "light classifier": (UniFormerLight, {"output_norm": "batch", "class_token": True}),
    "light video": (
        UniFormerLight,
        {"dims": 3, "class_token": True, "layer_scale": "all", "fp32_attention": True},
    ),
}
each_variant = pytest.mark.parametrize("variant", VARIANTS)


def make(variant="global", **options):
    torch.manual_seed(0)
    kind, defaults = VARIANTS[variant]
    arch = LIGHT if kind is UniFormerLight else TINY
    return kind(**{"arch": arch, **defaults, **options})


def example(model, size=(64, 96), batch=2):
    torch.manual_seed(1)
    time = (4,) if model.dims == 3 else ()
    return torch.randn(batch, model.in_channels, *time, *size)


def tensors(outputs):
    """Return all tensors of nested outputs."""
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    return [tensor for output in outputs for tensor in tensors(output)]


def total(outputs):
    return sum(output.square().mean() for output in tensors(outputs))


@pytest.mark.parametrize("scope", ["mmdet", "mmseg", "mmpose", "mmaction", "mmpretrain"])
def test_one_registration_serves_every_codebase(scope):
    registry = pytest.importorskip(f"{scope}.registry").MODELS
    model = registry.build({"type": "mmengine.UniFormer", "arch": TINY})
    assert type(model) is UniFormer
    assert MODELS.get("UniFormer") is UniFormer


def test_presets_carry_their_head_dim():
    """Published: 64 channels per head, 32 in S+; no tensor shape depends on it."""
    assert UniFormer("small").blocks4[0].attn.num_heads == 8
    assert UniFormer("small_plus").blocks4[0].attn.num_heads == 16
    assert UniFormer("small_plus", head_dim=64).blocks4[0].attn.num_heads == 8


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 333), (250, 333), (37, 1000)])
@pytest.mark.parametrize("attention", ["global", "hybrid"])
def test_sizes_round_down(size, attention):
    model = make(attention).eval()
    with torch.no_grad():
        outputs = model(example(model, size, batch=1))
    expected = [size[0] // 4, size[1] // 4]
    for output, channels in zip(outputs, TINY["embed_dims"], strict=True):
        assert list(output.shape) == [1, channels, *expected]
        assert output.is_contiguous()
        assert output.isfinite().all()
        expected = [expected[0] // 2, expected[1] // 2]


@pytest.mark.parametrize(("frames", "kept"), [(1, 1), (2, 1), (5, 3), (8, 4)])
@pytest.mark.parametrize("options", [{}, {"std": True}, {"split": True}])
def test_clips_keep_half_the_frames(options, frames, kept):
    model = make(dims=3, **options).eval()
    output = model(torch.randn(1, 3, frames, 64, 96))
    assert output.shape == (1, 64, kept, 2, 3)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 31, 64), "at least 32 x 32 pixels, got height 31 and width 64"),
        ((1, 4, 64, 64), "got 4 channels"),
        ((3, 64, 64), r"takes \(B, C, H, W\), got shape \(3, 64, 64\)"),
        ((1, 3, 8, 64, 64), r"takes \(B, C, H, W\), got shape"),
    ],
)
def test_wrong_inputs_are_named(shape, message):
    with pytest.raises(ValueError, match=message):
        make()(torch.zeros(shape))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arch": "tiny"}, "arch must be one of .*'small'.* got 'tiny'"),
        ({"arch": {"depth": (1, 1, 1, 1)}}, r"unknown keys \['depth'\]"),
        ({"arch": {"depths": (1, 1, 1)}}, r"needs 4 depths, one per stage, got \(1, 1, 1\)"),
        ({"attention": "swin"}, "attention must be one of"),
        ({"attention": "hybrid", "dims": 3}, "must be 'global' for dims=3, got 'hybrid'"),
        ({"split": True}, "need dims=3"),
        ({"arch": {**TINY, "downsample": "conv"}, "dims": 3, "std": True}, "kind 'patch'"),
        ({"dims": 4}, r"dims must be one of \(2, 3\), got 4"),
        ({"head_dim": 48}, "head_dim must divide"),
        ({"out_indices": (0, 4)}, "out_indices must be distinct stages from 0 to 3"),
        ({"out_indices": ()}, "out_indices must be"),
        ({"out_indices": (0, 3), "output_norm": "batch"}, "normalises the last stage only"),
        ({"output_norm": "group"}, "output_norm must be one of"),
        ({"layer_scale": "some"}, "layer_scale must be one of"),
        ({"frozen_stages": 5}, "frozen_stages must be from -1 to 4, got 5"),
        ({"with_cp": (1, 2)}, "with_cp must be a bool or 4 counts"),
        ({"drop_path_rate": 1.0}, "drop_path_rate must be in"),
        ({"kernels": "yes"}, "kernels must be one of"),
        ({"init_cfg": [{}]}, "needs the type of an initializer, .* got None"),
        ({"init_cfg": {"type": "small"}}, "needs the type of an initializer, .* got 'small'"),
        ({"init_cfg": {"type": "Pretrained"}}, "needs a checkpoint"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


@pytest.mark.parametrize("name", ["attention", "window_size", "split", "std", "heads"])
def test_light_models_refuse_options_they_do_not_have(name):
    with pytest.raises(TypeError, match=name):
        UniFormerLight(**{name: 1})


def test_help_shows_the_options_of_light_models():
    own = {"arch", "fp32_attention", "class_token"}
    shared = inspect.signature(UniFormer).parameters.keys() - {"arch"}
    names = inspect.signature(UniFormerLight).parameters.keys()
    assert names == own | (shared - {"attention", "window_size", "split", "std"})
    assert inspect.signature(UniFormerLight).parameters["out_indices"].default is None


def test_out_indices_choose_stages_and_type():
    model = make(out_indices=(1, 3)).eval()
    image = example(model)
    everything = make().eval()
    everything.load_state_dict(model.state_dict(), strict=False)
    with torch.no_grad():
        second, fourth = model(image)
        outputs = everything(image)
        assert torch.equal(second, outputs[1])
        assert torch.equal(fourth, outputs[3])
        assert isinstance(make(out_indices=3).eval()(image), torch.Tensor)
        assert isinstance(make(out_indices=(3,)).eval()(image), tuple)


@each_variant
@pytest.mark.parametrize("training", [True, False])
def test_every_parameter_gets_a_gradient(variant, training):
    """So DDP needs no search for unused parameters."""
    model = make(variant).train(training)
    total(model(example(model))).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert without == []
    assert all(p.grad.isfinite().all() for p in model.parameters())


@each_variant
@pytest.mark.parametrize("with_cp", [True, (1, 0, 2, 1)], ids=["all", "some"])
def test_checkpointing_changes_neither_gradients_nor_statistics(variant, with_cp):
    results = []
    for checkpointed in (False, with_cp):
        model = make(variant, drop_path_rate=0.2, drop_rate=0.1, with_cp=checkpointed).train()
        torch.manual_seed(2)
        total(model(example(model))).backward()
        results.append((dict(model.named_parameters()), dict(model.named_buffers())))
    (parameters, buffers), (saved_parameters, saved_buffers) = results
    for name, parameter in parameters.items():
        torch.testing.assert_close(saved_parameters[name].grad, parameter.grad, msg=name)
    for name, buffer in buffers.items():
        assert torch.equal(saved_buffers[name], buffer), name


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["hybrid", "plus", "divided video", "light", "light video"])
def test_compiles_without_graph_break_for_any_size(variant):
    model = make(variant).eval()
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend=backend)
    with torch.no_grad():
        for size in ((64, 96), (100, 71), (131, 160)):
            x = example(model, size)
            for output, expected in zip(tensors(compiled(x)), tensors(model(x)), strict=True):
                torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)
    assert len(graphs) <= 2, "sizes are compiled in, instead of being dynamic"


SMALL = {"depths": (2, 1, 2, 1), "embed_dims": (16, 16, 32, 32), "head_dim": 16}
COMPILED = {
    **{arch: (UniFormer, {**settings, **SMALL}, {}) for arch, settings in ARCHS.items()},
    **{a: (UniFormerLight, {**settings, **SMALL}, {}) for a, settings in LIGHT_ARCHS.items()},
    "video": (UniFormer, SMALL, {"dims": 3}),
    "light video": (UniFormerLight, SMALL, {"dims": 3}),
}


def trained(name, **compiling):
    """Gradients and statistics after one training step, compiled or not.

    Some of the blocks are checkpointed.
    """
    kind, arch, options = COMPILED[name]
    torch.manual_seed(0)
    model = kind(arch, drop_path_rate=0.2, with_cp=(1, 0, 1, 1), **options).double().train()
    torch._dynamo.reset()
    run = torch.compile(model, fullgraph=True, **compiling) if compiling else model
    x = example(model, size=(32, 48)).double()
    torch.manual_seed(2)
    total(run(x)).backward()
    return {**{k: v.grad for k, v in model.named_parameters()}, **dict(model.named_buffers())}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_training_gives_the_gradients_and_statistics_of_eager(name):
    """Of plain and checkpointed blocks; "aot_eager" is the backend's trace without its kernels."""
    expected = trained(name)
    for key, value in trained(name, backend="aot_eager").items():
        torch.testing.assert_close(value, expected[key], msg=key)


PARTS = {  # state dicts of a part of a model
    "heads": lambda state: {n: t + 1 for n, t in state.items() if n.startswith("head.")},
    "adapters": lambda state: {n: t + 1 for n, t in state.items() if ".lora_" in n},
    "a teacher": lambda state: {n: t + 1 for n, t in state.items() if n.startswith("teacher.")},
    "nothing": lambda state: {},
    "another model's": lambda state: {"encoder.weight": torch.ones(1)},
}


@pytest.mark.parametrize("part", PARTS)
def test_partial_loads_keep_pytorchs_contract(part):
    model = nn.ModuleDict({"backbone": make(), "teacher": make(), "head": nn.Linear(2, 2)})
    model["backbone"].blocks3[0].attn.qkv.lora_a = nn.Linear(2, 2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = PARTS[part](before)
    missing, unexpected = model.load_state_dict(state, strict=False)
    # PyTorch excuses counters of batches: a dict without metadata may be from before they existed.
    counters = {name for name in before if name.endswith("num_batches_tracked")}
    assert set(missing) == before.keys() - state.keys() - counters
    assert set(unexpected) == state.keys() - before.keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state.get(name, before[name]))
    with pytest.raises(RuntimeError, match=r"Missing key\(s\) in state_dict"):
        model.load_state_dict(state)


def test_a_moving_average_loads_its_own_state_dict():
    average = torch.optim.swa_utils.AveragedModel(nn.ModuleDict({"backbone": make()}))
    state = average.state_dict()
    assert average.load_state_dict(state) == ([], [])
    average.module.load_state_dict({"n_averaged": state["n_averaged"]}, strict=False)


def test_frozen_stages_have_no_gradient_and_stay_in_eval_mode():
    model = make(frozen_stages=2).train()
    frozen = ("patch_embed1.", "patch_embed2.", "blocks1.", "blocks2.", "norm1.", "norm2.")
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad != name.startswith(frozen), name
    assert not model.blocks2.training
    assert model.blocks3.training
    assert not any(p.requires_grad for p in make(frozen_stages=4).parameters())
    stem_only = [n for n, p in make(frozen_stages=0).named_parameters() if not p.requires_grad]
    assert {name.split(".")[0] for name in stem_only} == {"patch_embed1"}


@pytest.mark.parametrize("variant", ["global", "light"])
def test_norm_eval_keeps_running_statistics(variant):
    fixed, free = make(variant, norm_eval=True).train(), make(variant).train()
    before = copy.deepcopy(fixed.state_dict())
    for model in (fixed, free):
        model(example(model))
    assert fixed.blocks3[0].training
    assert all(torch.equal(v, before[k]) for k, v in fixed.state_dict().items())
    assert not torch.equal(free.blocks1[0].norm1.running_mean, fixed.blocks1[0].norm1.running_mean)


@pytest.mark.parametrize("variant", ["global", "light"])
def test_stochastic_depth_rises_linearly_and_acts_in_training_only(variant):
    model = make(variant, drop_path_rate=0.3).train()
    rates = [
        getattr(block.drop_path, "drop_prob", 0.0)
        for stage in model.stages
        for block in stage.blocks
    ]
    assert rates == pytest.approx(torch.linspace(0, 0.3, 7).tolist())
    image = example(model)
    assert not torch.equal(model(image)[3], model(image)[3])
    model.eval()
    assert torch.equal(model(image)[3], model(image)[3])


def test_dropped_branches_keep_their_expected_value():
    torch.manual_seed(0)
    out = DropPath(0.25)(torch.ones(10000, 2))
    assert torch.equal(out[:, 0], out[:, 1])
    assert set(out.unique().tolist()) <= {0.0, torch.tensor(1 / 0.75).item()}
    assert out.mean() == pytest.approx(1.0, abs=0.02)


def test_divided_attention_starts_as_spatial_attention():
    """The temporal step begins with zero weights, so that image weights keep their meaning."""
    block = make("divided video").blocks3[0]
    assert not block.t_attn.qkv.weight.any()
    assert not block.t_attn.proj.bias.any()
    assert (block.t_attn.proj.weight == 1).all()


def test_linear_layers_start_as_in_the_official_code():
    weights = torch.cat([m.weight.flatten() for m in make().modules() if isinstance(m, nn.Linear)])
    assert weights.std().item() == pytest.approx(0.02, rel=0.02)
    assert all(not m.bias.any() for m in make().modules() if isinstance(m, nn.Linear))


@each_variant
def test_autocast_runs_forward_and_backward(variant):
    model = make(variant, drop_path_rate=0.1).train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = total(model(example(model)))
    loss.backward()
    assert loss.isfinite()


def test_other_input_channels():
    model = make(in_channels=1).eval()
    assert model(torch.zeros(1, 1, 64, 64))[0].shape == (1, 16, 16, 16)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@each_variant
def test_gpu_equals_cpu(variant):
    model = make(variant).eval().double()
    x = example(model).double()
    with torch.no_grad():
        expected = tensors(model(x))
        actual = tensors(copy.deepcopy(model).cuda()(x.cuda()))
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a.cpu(), b)
