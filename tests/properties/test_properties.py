"""What holds for every size, architecture, attention mode, batch and precision."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from profiles import share
from reference import Reference

from uniformer_mm.models import ARCHS, LIGHT_ARCHS, UniFormer, UniFormerLight
from uniformer_mm.models.fuse import fuse

pytestmark = pytest.mark.slow

LONGEST = 700
"""Side of the largest inputs, in pixels."""

MOST_PIXELS = 200_000
"""Of a whole batch, so that a case takes a fraction of a second; presets get a tenth."""

TOLERANCE = {torch.float64: 1e-9, torch.float32: 3e-4}
"""Of outputs, in standard deviations: about 1 behind a LayerNorm, and more behind a BatchNorm whose
random statistics are not those of its input."""

SCORES_TOLERANCE = 1e-6
"""Of light models in double precision: their scores are in single precision."""

DECIDED = 1e-5
"""Least relative difference of scores that single precision puts in the right order."""


@dataclass
class Case:
    """A model with random weights, made anew for each use, and an input."""

    kind: type[UniFormer]
    options: dict[str, Any]
    shape: tuple[int, ...]
    dtype: torch.dtype
    seed: int

    def model(self, **others):
        model = self.kind(**{**self.options, **others}).eval()
        randomise(model, self.seed)
        return model.to(self.dtype)

    def input(self):
        return torch.randn(self.shape, generator=torch.manual_seed(self.seed)).to(self.dtype)

    def reference(self, model):
        known = ("attention", "window_size", "keep_ratio", "score_update")
        arch = self.options["arch"] if isinstance(self.options["arch"], dict) else {}
        given = {**arch, **self.options}
        options = {key: given[key] for key in known if key in given}
        return Reference(model.state_dict(), model.head_dim, **options)

    @property
    def tolerance(self):
        light = self.kind is UniFormerLight
        return max(TOLERANCE[self.dtype], SCORES_TOLERANCE if light else 0)

    def assume_decided(self):
        """Rounding may decide which tokens a light model keeps, where two are alike."""
        if self.kind is UniFormerLight:
            reference = self.reference(self.model())
            reference(self.input())
            assume(reference.margin > DECIDED)


def randomise(model, seed):
    """Weights with which every part of a block has a say."""
    generator = torch.manual_seed(seed)
    for name, tensor in model.state_dict().items():
        kind = name.rsplit(".", 1)[-1]
        noise = torch.randn(tensor.shape, generator=generator)
        if kind == "running_var":
            tensor.copy_(1 + noise.abs() / 10)
        elif kind == "weight" and tensor.dim() > 1:
            tensor.copy_(noise / tensor[0].numel() ** 0.5)
        elif kind == "weight" or kind.startswith("gamma"):
            tensor.copy_(1 + noise / 10)
        elif tensor.is_floating_point():
            tensor.copy_(noise / 10)


@st.composite
def cases(draw, kinds=("image", "video", "light"), presets=True):
    kind = draw(st.sampled_from(kinds))
    light = kind == "light"
    dims = draw(st.sampled_from([2, 3])) if light else 3 if kind == "video" else 2
    named = presets and draw(st.integers(0, 9)) == 9
    options = {"arch": draw(st.sampled_from([*(LIGHT_ARCHS if light else ARCHS)]))}
    if not named:
        options["arch"] = draw(archs(light))
    options["dims"] = dims
    options["qkv_bias"] = draw(st.booleans())
    options["layer_scale"] = draw(st.sampled_from([None, "none", "global", "all"]))
    options["output_norm"] = draw(st.sampled_from(["layer", "batch"]))
    if light:
        options["class_token"] = draw(st.booleans())
    elif dims == 2:
        options["attention"] = draw(st.sampled_from(["global", "window", "hybrid"]))
        options["window_size"] = draw(st.integers(1, 20))
    else:
        options["split"] = draw(st.booleans())
        conv = named or options["arch"].get("downsample") == "conv"
        options["std"] = not conv and draw(st.booleans())
    if options["output_norm"] == "layer" and not options.get("class_token"):
        stages = st.lists(st.integers(0, 3), min_size=1, max_size=4, unique=True)
        options["out_indices"] = sorted(draw(stages))
    budget = MOST_PIXELS // 10 if named else MOST_PIXELS
    longest = 96 if named else LONGEST
    height, width = draw(st.integers(32, longest)), draw(st.integers(32, longest))
    frames = (draw(st.integers(1, max(1, min(9, budget // 2 // (height * width))))),)
    frames = frames if dims == 3 else ()
    pixels = height * width * (frames[0] * 2 if frames else 1)
    batch = draw(st.integers(1, max(1, min(4, budget // pixels))))
    dtype = draw(st.sampled_from([torch.float64, torch.float32]))
    seed = draw(st.integers(0, 2**16))
    return Case(
        UniFormerLight if light else UniFormer,
        options,
        (batch, 3, *frames, height, width),
        dtype,
        seed,
    )


@st.composite
def archs(draw, light):
    head_dim = draw(st.sampled_from([8, 16]))
    widths = st.integers(1, 4).map(lambda heads: heads * head_dim)
    arch = {
        "depths": draw(st.sampled_from([(1, 1, 4, 1), (1, 1, 5, 2), (2, 1, 1, 1)])),
        "embed_dims": (
            draw(st.integers(4, 24)),
            draw(st.integers(4, 32)),
            *draw(st.tuples(widths, widths)),
        ),
        "head_dim": head_dim,
        "mlp_ratio": draw(st.sampled_from([1, 2.5, 4])),
    }
    if light:
        arch["keep_ratio"] = draw(st.sampled_from([0.25, 0.5, 0.75]))
        arch["score_update"] = draw(st.sampled_from([0.2, 0.5, 1.0]))
    else:
        arch["stem"] = draw(st.sampled_from(["patch", "conv"]))
    arch["downsample"] = draw(st.sampled_from(["patch", "conv"]))
    return arch


def tensors(outputs):
    """All tensors of a backbone's output, in order."""
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    return [tensor for output in outputs for tensor in tensors(output)]


def assert_equal(case, outputs, expected):
    outputs, expected = tensors(outputs), tensors(expected)
    assert len(outputs) == len(expected)
    for output, wanted in zip(outputs, expected, strict=True):
        assert output.isfinite().all()
        wanted = wanted.double()
        deviation = max(1.0, float(wanted.std(correction=0)))
        torch.testing.assert_close(
            output.double(), wanted, rtol=case.tolerance, atol=case.tolerance * deviation
        )


@share(41)
@given(cases())
def test_output_is_that_of_the_papers_equations(case):
    model = case.model()
    reference = case.reference(model)
    expected = reference(case.input())
    assume(reference.margin > DECIDED)
    with torch.no_grad():
        assert_equal(case, model(case.input()), expected)


@share(16)
@given(cases(), st.randoms())
def test_samples_know_nothing_of_their_batch(case, random):
    case.assume_decided()
    model, images = case.model(), case.input()
    order = random.sample(range(len(images)), len(images))
    with torch.no_grad():
        together = tensors(model(images))
        alone = [tensors(model(image[None])) for image in images]
        permuted = tensors(model(images[order]))
    assert_equal(case, together, [torch.cat(parts) for parts in zip(*alone, strict=True)])
    assert_equal(case, permuted, [output[order] for output in together])


@share(10)
@given(cases())
def test_memory_format_of_the_input_does_not_matter(case):
    case.assume_decided()
    model, images = case.model(), case.input()
    last = torch.channels_last if images.dim() == 4 else torch.channels_last_3d
    with torch.no_grad():
        expected = model(images)
        assert_equal(case, model(images.contiguous(memory_format=last)), expected)
        assert_equal(case, model(images.transpose(-1, -2).contiguous().transpose(-1, -2)), expected)


@share(12)
@given(cases())
def test_fused_is_equal(case):
    case.assume_decided()
    model, images = case.model(), case.input()
    with torch.no_grad():
        assert_equal(case, fuse(model)(images), model(images))


@share(3)
@given(cases(presets=False), st.sampled_from(["eager", "aot_eager"]))
def test_compiled_is_equal(case, backend):
    case.assume_decided()
    model, images = case.model(), case.input()
    torch.compiler.reset()
    with torch.no_grad():
        assert_equal(case, torch.compile(model, backend=backend)(images), model(images))


@share(10)
@given(cases(), st.one_of(st.just(True), st.tuples(*[st.integers(0, 3)] * 4)))
def test_activation_checkpointing_changes_nothing(case, with_cp):
    case.assume_decided()
    images, results = case.input(), []
    # BatchNorm does not train on a single value per channel.
    assume(len(images) > 1 or max(images.shape[-2:]) >= 64)
    for checkpointed in (False, with_cp):
        model = case.model(with_cp=checkpointed, drop_path_rate=0.2).train()
        torch.manual_seed(case.seed)
        outputs = tensors(model(images))
        sum(output.square().mean() for output in outputs).backward()
        gradients = {name: weight.grad for name, weight in model.named_parameters()}
        results.append([*outputs, *gradients.values(), *model.buffers()])
    assert_equal(case, *results)


@share(8)
@given(cases(kinds=("image",)), st.sampled_from(["window", "hybrid"]))
def test_a_window_over_the_whole_map_is_global_attention(case, attention):
    """On square maps: a longer window is filled up with zeros, which take part."""
    images = case.input()
    images = images[..., : min(images.shape[-2:]), : min(images.shape[-2:])]
    with torch.no_grad():
        side = case.model(output_norm="layer", out_indices=2)(images).shape[-1]
        windowed = case.model(attention=attention, window_size=side)(images)
        assert_equal(case, windowed, case.model(attention="global")(images))
