"""Triton kernels of depthwise convolutions on channels-last maps.

One program of `convolve` computes `ROWS` rows of `BLOCK_W` tokens and `BLOCK_C` channels. It reads
each input row once per kernel column for all output rows that depend on it. It accumulates products
in single precision for any type of the map.
"""

import triton
import triton.language as tl


@triton.jit
def convolve(
    x_ptr,
    weight_ptr,
    bias_ptr,
    out_ptr,
    frames,
    height,
    width,
    channels,
    strips,
    columns,
    SPAN_T: tl.constexpr,
    SPAN: tl.constexpr,
    ROWS: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    FLIPPED: tl.constexpr,
    BLOCK_W: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Depthwise convolution, plus bias, on (B, T, H, W, C).

    The weight is (SPAN_T * SPAN * SPAN, C). The grid is (strips * columns, B * T, blocks of C).
    """
    strip = tl.program_id(0) // columns
    column = tl.program_id(0) % columns
    frame = tl.program_id(1)
    t = frame % frames
    first = strip * ROWS
    c = tl.program_id(2) * BLOCK_C + tl.arange(0, BLOCK_C)
    w = column * BLOCK_W + tl.arange(0, BLOCK_W)
    is_channel = c < channels
    sums = tl.zeros((BLOCK_W, BLOCK_C), dtype=tl.float32)
    if HAS_BIAS:
        sums += tl.load(bias_ptr + c, mask=is_channel, other=0.0).to(tl.float32)[None, :]
    accs = ()
    for _ in tl.static_range(ROWS):
        accs = accs + (sums,)
    row_size = width * channels
    for kt in range(SPAN_T):
        dt = kt - SPAN_T // 2
        frame_there = (t + dt >= 0) & (t + dt < frames)
        source = x_ptr + (frame + dt).to(tl.int64) * (height * row_size)
        for kw in tl.static_range(SPAN):
            dw = kw - SPAN // 2
            there = (w + dw >= 0) & (w + dw < width)
            there = there[:, None] & is_channel[None, :] & frame_there
            offsets = (w + dw)[:, None] * channels + c[None, :]
            taps = ()
            for kh in tl.static_range(SPAN):
                index = (kt * SPAN + kh) * SPAN + kw
                if FLIPPED:
                    index = SPAN_T * SPAN * SPAN - 1 - index
                tap = tl.load(weight_ptr + index * channels + c, mask=is_channel, other=0.0)
                taps = taps + (tap.to(tl.float32)[None, :],)
            for i in tl.static_range(SPAN + ROWS - 1):
                h = first + i - SPAN // 2
                mask = there & (h >= 0) & (h < height)
                values = tl.load(source + h * row_size + offsets, mask=mask, other=0.0)
                values = values.to(tl.float32)
                new = ()
                for r in tl.static_range(ROWS):
                    if i >= r and i - r < SPAN:
                        new = new + (accs[r] + values * taps[i - r],)
                    else:
                        new = new + (accs[r],)
                accs = new
    offsets = w[:, None] * channels + c[None, :]
    inside = (w < width)[:, None] & is_channel[None, :]
    for r in tl.static_range(ROWS):
        mask = inside & (first + r < height)
        at = frame.to(tl.int64) * (height * row_size) + (first + r) * row_size + offsets
        tl.store(out_ptr + at, accs[r].to(out_ptr.dtype.element_ty), mask=mask)


@triton.jit
def correlate(
    x_ptr,
    grad_ptr,
    partial_ptr,
    rows,
    frames,
    height,
    width,
    channels,
    rows_per_strip,
    SPAN_T: tl.constexpr,
    SPAN: tl.constexpr,
    BLOCK_W: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Gradients of the weight and the bias over a strip of rows of the output.

    Writes (strips, SPAN_T * SPAN * SPAN + 1, C), the bias last. The grid is
    (SPAN_T * SPAN, strips, blocks of C): a program has one row of the kernel.
    """
    line = tl.program_id(0)
    strip = tl.program_id(1)
    dt = line // SPAN - SPAN_T // 2
    dh = line % SPAN - SPAN // 2
    c = tl.program_id(2) * BLOCK_C + tl.arange(0, BLOCK_C)
    is_channel = c < channels
    zeros = tl.zeros((BLOCK_W, BLOCK_C), dtype=tl.float32)
    sums = ()
    for _ in tl.static_range(SPAN + 1):
        sums = sums + (zeros,)
    first = strip.to(tl.int64) * rows_per_strip  # rows and what is counted from them: 64 bits
    row_size = width * channels
    for row in range(first, min(first + rows_per_strip, rows)):
        h = row % height
        t = (row // height) % frames
        seen = (h + dh >= 0) & (h + dh < height) & (t + dt >= 0) & (t + dt < frames)
        here = row * row_size
        source = x_ptr + here + (dt * height + dh) * row_size
        for start in range(0, width, BLOCK_W):
            w = start + tl.arange(0, BLOCK_W)
            mask = (w < width)[:, None] & is_channel[None, :]
            at = w[:, None] * channels + c[None, :]
            grad = tl.load(grad_ptr + here + at, mask=mask, other=0.0).to(tl.float32)
            new = ()
            for kw in tl.static_range(SPAN):
                dw = kw - SPAN // 2
                there = (w + dw >= 0) & (w + dw < width)
                mask = there[:, None] & is_channel[None, :] & seen
                values = tl.load(source + at + dw * channels, mask=mask, other=0.0)
                new = new + (sums[kw] + values.to(tl.float32) * grad,)
            sums = new + (sums[SPAN] + grad,)
    taps = SPAN_T * SPAN * SPAN
    target = partial_ptr + strip.to(tl.int64) * (taps + 1) * channels
    for kw in tl.static_range(SPAN):
        at = (line * SPAN + kw) * channels
        tl.store(target + at + c, tl.sum(sums[kw], axis=0), mask=is_channel)
    if line == 0:
        tl.store(target + taps * channels + c, tl.sum(sums[SPAN], axis=0), mask=is_channel)
