"""Triton kernel of the second half of a local block in inference."""

import triton
import triton.language as tl


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
        hidden = 0.5 * hidden * (1.0 + tl.erf(hidden * 0.7071067811865476))
        weight2 = tl.load(weight2_ptr + c[None, :] * HIDDEN + h[:, None])
        y += tl.dot(hidden.to(attended.dtype), weight2, input_precision="ieee")
    tl.store(out_ptr + at, y.to(out_ptr.dtype.element_ty), mask=mask)
