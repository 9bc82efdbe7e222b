"""Triton kernels of fused models on GPUs."""

import triton
import triton.language as tl


@triton.jit
def gelu(x):
    """GELU, whose erf is formula 7.1.26 of Abramowitz and Stegun: within 1.5e-7.

    The erf of CUDA's library takes a third of the time of `project_and_feed`.
    """
    z = tl.abs(x) * 0.7071067811865476
    t = 1.0 / (1.0 + 0.3275911 * z)
    series = 1.061405429 * t - 1.453152027
    series = series * t + 1.421413741
    series = series * t - 0.284496736
    series = series * t + 0.254829592
    erf = 1.0 - series * t * tl.exp(-z * z)
    return 0.5 * x * (1.0 + tl.where(x < 0.0, -erf, erf))


@triton.jit
def layer_norm(
    x_ptr,
    weight_ptr,
    bias_ptr,
    out_ptr,
    tokens,
    channels,
    eps,
    BLOCK: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """LayerNorm of (tokens, channels). A program has `BLOCK` tokens; WIDTH is a power of two."""
    token = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    c = tl.arange(0, WIDTH)
    is_channel = c < channels
    at = token[:, None] * channels + c[None, :]
    mask = (token < tokens)[:, None] & is_channel[None, :]
    x = tl.load(x_ptr + at, mask=mask, other=0.0).to(tl.float32)
    centered = tl.where(is_channel[None, :], x - (tl.sum(x, axis=1) / channels)[:, None], 0.0)
    variance = tl.sum(centered * centered, axis=1) / channels
    out = centered / tl.sqrt(variance + eps)[:, None]
    out *= tl.load(weight_ptr + c, mask=is_channel, other=0.0).to(tl.float32)[None, :]
    out += tl.load(bias_ptr + c, mask=is_channel, other=0.0).to(tl.float32)[None, :]
    tl.store(out_ptr + at, out.to(out_ptr.dtype.element_ty), mask=mask)


@triton.jit
def project_and_feed(
    attended_ptr,
    x_ptr,
    out_ptr,
    projection_ptr,
    projection_bias_ptr,
    weight1_ptr,
    bias1_ptr,
    weight2_ptr,
    bias2_ptr,
    tokens,
    CHANNELS: tl.constexpr,
    HIDDEN: tl.constexpr,
    BLOCK: tl.constexpr,
    SLICE: tl.constexpr,
):
    """``y = x + projection(attended)``, then ``y + fc2(gelu(fc1(y)))``, on (tokens, CHANNELS).

    Weights are (out, in) in the type of `attended`. A program has `BLOCK` tokens. It computes
    `SLICE` hidden channels at a time, which never reach the memory.
    """
    token = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    c = tl.arange(0, CHANNELS)
    at = token[:, None] * CHANNELS + c[None, :]
    mask = (token < tokens)[:, None]
    attended = tl.load(attended_ptr + at, mask=mask, other=0.0)
    weight = tl.load(projection_ptr + c[None, :] * CHANNELS + c[:, None])
    y = tl.load(x_ptr + at, mask=mask, other=0.0).to(tl.float32)
    y += tl.load(projection_bias_ptr + c).to(tl.float32)[None, :]
    y += tl.dot(attended, weight, input_precision="ieee")
    rounded = y.to(attended.dtype)
    y += tl.load(bias2_ptr + c).to(tl.float32)[None, :]
    for start in range(0, HIDDEN, SLICE):
        h = start + tl.arange(0, SLICE)
        weight1 = tl.load(weight1_ptr + h[None, :] * CHANNELS + c[:, None])
        hidden = tl.dot(rounded, weight1, input_precision="ieee")
        hidden += tl.load(bias1_ptr + h).to(tl.float32)[None, :]
        hidden = gelu(hidden)
        weight2 = tl.load(weight2_ptr + c[None, :] * HIDDEN + h[:, None])
        y += tl.dot(hidden.to(attended.dtype), weight2, input_precision="ieee")
    tl.store(out_ptr + at, y.to(out_ptr.dtype.element_ty), mask=mask)
