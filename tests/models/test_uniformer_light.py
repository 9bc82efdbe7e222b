"""The light backbone: token shrinking and recovering, without state between forward passes."""

import threading

import pytest
import torch
import torch.nn.functional as F
from parity import fill

from uniformer_mm.models import UniFormerLight
from uniformer_mm.models.uniformer_light import pooled_scores

TINY = {"depths": (1, 1, 3, 2), "embed_dims": (16, 16, 32, 64), "head_dim": 16}


def make(**options):
    torch.manual_seed(0)
    model = UniFormerLight(TINY, **options)
    fill(model)
    return model.eval()


def plain(block, x, class_token, scores):
    """A block that keeps half of the tokens, in the order of the definition, one image."""
    x = x + block.pos_embed(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    tokens, shape = x.flatten(1, 2)[0], x.shape
    number = len(tokens) // 2
    order = sorted(range(len(tokens)), key=lambda i: -scores[0, i].item())
    kept, dropped = order[:number], order[number:]
    weight = scores[0, dropped] / scores[0, dropped].sum()
    rest = (weight[:, None] * tokens[dropped]).sum(0)
    sequence = torch.cat([class_token[0], tokens[kept], rest[None]])[None]
    heads = block.attn.num_heads
    qkv = block.attn.qkv(block.norm1(sequence)).view(len(sequence[0]), 3, heads, -1)
    query, key, value = qkv.permute(1, 2, 0, 3)
    weights = (query @ key.transpose(1, 2) * query.shape[-1] ** -0.5).softmax(-1)
    attended = block.attn.proj((weights @ value).transpose(0, 1).flatten(1))
    sequence = sequence[0] + attended
    fed = block.mlp(block.norm2(sequence))
    sequence = sequence + fed
    tokens = tokens.clone()
    tokens[kept] = sequence[1:-1]
    tokens[dropped] = tokens[dropped] + attended[-1] + fed[-1]
    scores = scores.clone()
    scores[0, kept] = 0.5 * scores[0, kept] + 0.5 * weights.mean(0)[0, 1:-1]
    return tokens.view(shape), sequence[:1][None], scores


@pytest.mark.parametrize("size", [(4, 4), (5, 7)])
def test_a_block_is_what_its_definition_says(size):
    block = make().blocks3[1]
    x, class_token = torch.randn(1, *size, 32), torch.randn(1, 1, 32)
    scores = torch.rand(1, size[0] * size[1])
    with torch.no_grad():
        outputs = block(x, class_token, scores)
        expected = plain(block, x, class_token, scores)
    for output, reference in zip(outputs, expected, strict=True):
        torch.testing.assert_close(output, reference, rtol=1e-4, atol=1e-5)


def test_scores_are_pooled_to_the_next_stage_with_their_sum():
    scores = torch.arange(1.0, 21.0).view(1, 4, 5)
    pooled = pooled_scores(scores)
    assert pooled.sum() == pytest.approx(scores.sum())
    ratio = pooled / F.avg_pool2d(scores, 2).flatten(1)
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))
    assert pooled_scores(torch.rand(2, 3, 4, 6)).shape == (2, 3 * 2 * 3)


def test_two_models_in_two_threads_do_not_mix():
    models = [make(), make()]
    images = [torch.randn(1, 3, 64, 96), torch.randn(2, 3, 96, 64)]
    with torch.no_grad():
        alone = [m(x) for m, x in zip(models, images, strict=True)]
    together = [[], []]

    def work(i):
        with torch.no_grad():
            for _ in range(5):
                together[i].append(models[i](images[i]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(2):
        for outputs in together[i]:
            for a, b in zip(outputs, alone[i], strict=True):
                assert torch.equal(a, b)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", [{}, {"layer_scale": "all"}, {"with_cp": True}])
def test_every_parameter_gets_a_gradient_in_any_mode(training, options):
    model = make(**options).train(training)
    sum(output.square().mean() for output in model(torch.randn(2, 3, 64, 64))).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_checkpointing_changes_nothing():
    gradients = []
    for with_cp in (False, True):
        model = make(with_cp=with_cp).train()
        x = torch.linspace(-1, 1, 2 * 3 * 64 * 64).view(2, 3, 64, 64)
        model(x)[-1].square().mean().backward()
        gradients.append(
            torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        )
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_tokens_beyond_2048_are_put_back_right_in_half_precision(dtype):
    """Indices are integers: as half-precision numbers they would collide above 2048 (256)."""
    block = make().blocks3[1]
    x, class_token = torch.randn(1, 50, 50, 32), torch.randn(1, 1, 32)
    scores = torch.rand(1, 2500)
    with torch.no_grad():
        expected = block(x, class_token, scores)[0]
        output = block.to(dtype)(x.to(dtype), class_token.to(dtype), scores)[0]
    error = (output.float() - expected).abs().mean() / expected.abs().mean()
    assert error < (0.01 if dtype is torch.float16 else 0.04)


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


def test_a_batch_is_its_images():
    model = make()
    images = torch.randn(3, 3, 64, 96)
    with torch.no_grad():
        together = model(images)
        for i in range(3):
            for a, b in zip(model(images[i : i + 1]), together, strict=True):
                torch.testing.assert_close(a[0], b[i], rtol=1e-4, atol=1e-5)


def test_it_compiles_without_a_break():
    explanation = torch._dynamo.explain(make())(torch.randn(1, 3, 64, 64))
    assert explanation.graph_break_count == 0


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


def test_stages_behind_the_last_output_are_not_built():
    names = dict(make(out_indices=(0, 1)).named_parameters())
    assert not any(name.startswith(("cls_", "blocks3")) for name in names)


def test_frozen_stages_include_the_class_token():
    model = make(frozen_stages=3)
    assert not model.cls_token.requires_grad
    assert model.cls_upsample.weight.requires_grad
    assert not make(frozen_stages=4).cls_upsample.weight.requires_grad
