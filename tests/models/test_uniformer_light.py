"""The light backbone: token shrinking and recovering, without state between forward passes."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F

from uniformer_mm.doctor.parity import fill
from uniformer_mm.models import UniFormerLight
from uniformer_mm.models.uniformer import Attention
from uniformer_mm.models.uniformer_light import pool_scores

TINY = {"depths": (1, 1, 3, 2), "embed_dims": (16, 16, 32, 64), "head_dim": 16}
CLASSIFIER = {"output_norm": "batch", "class_token": True}
RECOGNIZER = {"dims": 3, "class_token": True, "layer_scale": "all", "fp32_attention": True}
USES = [{}, CLASSIFIER, RECOGNIZER, {"out_indices": (0, 2)}, {"layer_scale": "all"}]


def make(**options):
    torch.manual_seed(0)
    model = UniFormerLight(TINY, **options)
    fill(model)
    return model.eval()


def example(model, size=(64, 96)):
    torch.manual_seed(1)
    return torch.randn(2, 3, *((4,) if model.dims == 3 else ()), *size)


def tensors(outputs):
    """All outputs of a model, those of nested tuples too."""
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    return [tensor for output in outputs for tensor in tensors(output)]


def total(outputs):
    return sum(output.square().mean() for output in tensors(outputs))


def assert_same(outputs, expected):
    for a, b in zip(tensors(outputs), tensors(expected), strict=True):
        assert torch.equal(a, b)


def test_scores_are_pooled_to_the_next_stage_with_their_sum():
    scores = torch.arange(1.0, 21.0).view(1, 4, 5)
    pooled = pool_scores(scores)
    assert pooled.sum() == pytest.approx(scores.sum())
    ratio = pooled / F.avg_pool2d(scores, 2).flatten(1)
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))
    assert pool_scores(torch.rand(2, 3, 4, 6)).shape == (2, 3 * 2 * 3)


def test_scores_follow_an_embedding_that_rounds_up():
    """The last column is a mean of the two tokens that are left, not of them and of zeros."""
    scores = torch.arange(1.0, 21.0).view(1, 4, 5)
    pooled = pool_scores(scores, ceil=True).view(2, 3)
    assert pooled.sum() == pytest.approx(scores.sum())
    assert pooled[0, 2] / pooled[0, 0] == pytest.approx(7.5 / 4)


@pytest.mark.parametrize("training", [True, False])
def test_a_forward_pass_between_does_not_change_gradients(training):
    """Those of another model, and of the same one: two passes and one backward pass."""
    alone, model, other = (make().train(training) for _ in range(3))
    x, y = example(alone), example(alone, (96, 64))
    total(alone(x)).backward()
    outputs = model(x)
    total(other(y)).backward()
    model(y)
    total(outputs).backward()
    for parameter, expected in zip(model.parameters(), alone.parameters(), strict=True):
        assert torch.equal(parameter.grad, expected.grad)


def test_it_is_copied_and_pickled_after_a_forward_pass():
    model = make(**CLASSIFIER)
    expected = model(example(model))
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert_same(again(example(model)), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_tokens_beyond_2048_are_put_back_right_in_half_precision(dtype):
    """Indices are integers: as half-precision numbers they would collide above 2048 (256)."""
    block = make().blocks3[1]
    x, class_token = torch.randn(1, 50, 50, 32), torch.randn(1, 1, 32)
    scores = torch.rand(1, 2500)
    half = copy.deepcopy(block).to(dtype)
    with torch.no_grad():
        expected = block(x, class_token, scores)[0]
        output = half(x.to(dtype), class_token.to(dtype), scores)[0]
        error = (output.float() - expected).abs().mean() / expected.abs().mean()
        assert error < (0.01 if dtype is torch.float16 else 0.04)
        for layer in (half.pos_embed, half.attn.proj, half.mlp.fc2):
            layer.weight.zero_()
            layer.bias.zero_()
        x = x.to(dtype)
        assert torch.equal(half(x, class_token.to(dtype), scores)[0], x), "all updates are zero"


@pytest.mark.parametrize(("fp32", "dtype"), [(False, torch.bfloat16), (True, torch.float32)])
def test_attention_is_in_single_precision_under_autocast_when_asked_for(fp32, dtype):
    model = make(fp32_attention=fp32)
    seen = []
    attention = model.blocks3[1].attn
    attend = attention.attend
    attention.attend = lambda *parts: seen.extend(part.dtype for part in parts) or attend(*parts)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        outputs = model(torch.randn(1, 3, 96, 96))
        scores = attention(torch.randn(1, 30, 32))[1]
    assert set(seen) == {dtype}
    assert scores.dtype is torch.float32
    assert all(torch.isfinite(output).all() for output in outputs)


@pytest.mark.parametrize("fp32", [False, True])
def test_attention_in_single_precision_is_finite_where_fp16_overflows(fp32, monkeypatch):
    monkeypatch.setattr(Attention, "fused", False)  # some fused kernels do not overflow
    model = make(fp32_attention=fp32)
    for block in [*model.blocks3, *model.blocks4]:
        block.attn.qkv.weight.data.mul_(100)
    with torch.autocast("cpu", torch.float16):
        outputs = model(example(model))
    assert all(torch.isfinite(output).all() for output in outputs) == fp32
    if fp32:
        total([output.float() for output in outputs]).backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_a_class_token_that_attends_to_few_tokens_is_no_division_by_zero():
    block = make().blocks3[1]
    x, class_token = torch.randn(1, 4, 5, 32), torch.randn(1, 1, 32)
    scores = torch.zeros(1, 20)
    scores[0, 7] = 1.0
    scores.requires_grad_()
    output, _, scores_after = block(x, class_token, scores)
    (output.sum() + scores_after.sum()).backward()
    assert torch.isfinite(output).all()
    assert torch.isfinite(scores.grad).all()
    assert not pool_scores(torch.zeros(1, 4, 4)).any()


@pytest.mark.parametrize("size", [(32, 32), (33, 64), (250, 333)])
def test_sizes_are_rounded_up_by_the_stem_and_down_after_it(size):
    with torch.no_grad():
        outputs = make()(torch.randn(1, 3, *size))
    expected = [(size[0] + 3) // 4, (size[1] + 3) // 4]
    for output, channels in zip(outputs, TINY["embed_dims"], strict=True):
        assert list(output.shape) == [1, channels, *expected]
        assert torch.isfinite(output).all()
        expected = [expected[0] // 2, expected[1] // 2]


def test_the_class_token_comes_when_asked_for():
    clip = torch.randn(2, 3, 4, 64, 64)
    model = make(dims=3, class_token=True)
    features, class_token = model(clip)
    assert features.shape == (2, 64, 2, 2, 2)
    assert class_token.shape == (2, 64)
    assert not hasattr(make(dims=3), "norm_cls")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arch": "tiny"}, r"arch must be one of \('xxs', 'xs'\)"),
        ({"arch": dict(TINY, keep_ratio=1.0)}, "keep_ratio must be between 0 and 1, got 1.0"),
        ({"class_token": True, "out_indices": (0, 1)}, "class_token needs the last stage"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        UniFormerLight(**options)


def test_stages_after_the_last_output_are_not_built():
    names = dict(make(out_indices=(0, 1)).named_parameters())
    assert not any(name.startswith(("cls_", "blocks3")) for name in names)


def test_frozen_stages_include_the_class_token():
    model = make(frozen_stages=3)
    assert not model.cls_token.requires_grad
    assert model.cls_upsample.weight.requires_grad
    frozen = make(frozen_stages=4, **CLASSIFIER).train()
    assert not any(p.requires_grad for p in frozen.parameters())
    assert not frozen.norm.training


@pytest.mark.parametrize(("dims", "gammas"), [(2, 3), (3, 2)])
def test_layer_scale_starts_as_asked_for(dims, gammas):
    """Images scale what dropped tokens are passed with a gamma of its own."""
    model = UniFormerLight(TINY, dims=dims, layer_scale="all", layer_scale_init=0.1)
    state = {name: t for name, t in model.state_dict().items() if "gamma_" in name}
    assert all(tensor.eq(0.1).all() for tensor in state.values())
    assert sum(name.startswith("blocks1.0.") for name in state) == 2
    assert sum(name.startswith("blocks3.0.") for name in state) == 2, "it drops no tokens"
    assert sum(name.startswith("blocks3.1.") for name in state) == gammas
