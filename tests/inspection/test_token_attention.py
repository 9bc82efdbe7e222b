"""The attention that is shown is what the block has paid."""

import numpy as np
import pytest
import torch

from uniformer_mm.inspection.attention import (
    CLASS_TOKEN,
    DROPPED,
    PADDING,
    kept_tokens,
    token_attention,
    token_scores,
)
from uniformer_mm.inspection.recording import Recorder, choose_blocks
from uniformer_mm.models import UniFormer, UniFormerLight

SMALL = {"depths": (1, 1, 4, 1), "embed_dims": (16, 16, 32, 32), "head_dim": 16}
IMAGE, CLIP = (2, 3, 96, 112), (2, 3, 4, 64, 96)


def recorded(backbone, shape, sample=1):
    """Records of all blocks of stages 3 and 4, and what their attentions gave."""
    torch.manual_seed(0)
    for parameter in backbone.parameters():  # attention that is far from uniform
        torch.nn.init.normal_(parameter, std=0.3)
    backbone.eval()
    names = choose_blocks(backbone, ["all"], (3, 4))
    outputs = {}
    with Recorder(backbone, names, sample) as recorder, torch.inference_mode():
        for record in recorder.records:
            record.block.attn.register_forward_hook(
                lambda _, inputs, output, name=record.name: outputs.setdefault(name, output)
            )
        backbone(torch.randn(shape))
    return recorder, outputs


def reproduced(record, rows, group=0):
    """Outputs (N, C) of a block's attention at some positions, from weights and values."""
    attention = record.block.attn
    with torch.no_grad():
        _, _, value = attention.split(attention.qkv(record.attended["attn"][group : group + 1]))
        # One row of weights per position, each (heads, N).
        heads = torch.einsum("mhn,hnd->mhd", torch.as_tensor(np.stack(rows)), value[0])
        return attention.proj(heads.flatten(1))


def assert_complete(attention):
    total = np.nansum(attention.weights.reshape(len(attention.weights), -1), axis=1)
    np.testing.assert_allclose(total + sum(attention.others.values()), 1, atol=1e-5)


@pytest.mark.parametrize(("dims", "shape"), [(2, IMAGE), (3, CLIP)])
def test_global_weights_times_values_are_what_the_block_gave(dims, shape):
    backbone = UniFormer(SMALL, dims=dims, out_indices=(3,), output_norm="batch")
    recorder, outputs = recorded(backbone, shape)
    assert [record.name for record in recorder.records] == ["3.1", "3.2", "3.3", "3.4", "4.1"]
    for record in recorder.records:
        places = list(np.ndindex(record.grid))
        rows = [token_attention(record, place).weights.reshape(2, -1) for place in places]
        given = outputs[record.name][1].flatten(0, -2)
        assert given.std() > 0.1
        torch.testing.assert_close(reproduced(record, rows), given, rtol=0, atol=1e-5)


def test_attention_in_windows_is_a_plain_softmax_over_the_window_and_its_padding():
    backbone = UniFormer(SMALL, attention="hybrid", window_size=4)
    recorder, _ = recorded(backbone, IMAGE)
    first, last = recorder.records[0], recorder.records[3]
    assert last.block.window_size == 0
    height, width = first.grid
    assert first.grid == (6, 7), "windows are completed by padding"
    attention = first.block.attn
    map_of = torch.full((8, 8, 32), torch.nan)
    # Windows in the order of rows and columns, without the package's own arithmetic.
    for window, tokens in enumerate(first.attended["attn"]):
        top, left = 4 * (window // 2), 4 * (window % 2)
        map_of[top : top + 4, left : left + 4] = tokens.view(4, 4, 32)
    assert not map_of[height:].any(), "padding is zero"
    for y, x in [(0, 0), (3, 3), (2, 5), (5, 6), (4, 1)]:
        top, left = y // 4 * 4, x // 4 * 4
        window = map_of[top : top + 4, left : left + 4].reshape(1, 16, 32)
        with torch.no_grad():
            query, key, _ = attention.qkv(window).view(16, 3, 2, 16).permute(1, 2, 0, 3)
        logits = query[:, (y - top) * 4 + x - left, None] @ key.transpose(1, 2) / 16**0.5
        expected = torch.full((2, 8, 8), torch.nan)
        expected[:, top : top + 4, left : left + 4] = logits.softmax(-1).view(2, 4, 4)
        padded = expected.nan_to_num().clone()
        padded[:, :height, :width] = 0
        found = token_attention(first, (y, x))
        np.testing.assert_allclose(
            found.weights, expected[:, :height, :width], atol=1e-5, equal_nan=True
        )
        share = found.others.get(PADDING, np.zeros(2))
        np.testing.assert_allclose(share, padded.sum((1, 2)), atol=1e-5)
        assert (PADDING in found.others) == (top + 4 > height or left + 4 > width)
        assert_complete(found)


def test_windows_reproduce_what_the_block_gave():
    backbone = UniFormer(SMALL, attention="window", window_size=4)
    recorder, outputs = recorded(backbone, (2, 3, 128, 64))
    record = recorder.records[1]
    assert record.grid == (8, 4)
    places = [(y, x) for y in range(4, 8) for x in range(4)]
    rows = [token_attention(record, place).weights[:, 4:8].reshape(2, -1) for place in places]
    given = outputs["3.2"][1, 4:].flatten(0, 1)  # the second window of the second sample
    torch.testing.assert_close(reproduced(record, rows, group=1), given, rtol=0, atol=1e-5)


def test_divided_attention_is_that_of_the_frame():
    backbone = UniFormer(SMALL, dims=3, split=True)
    recorder, outputs = recorded(backbone, CLIP)
    record = recorder.records[2]
    frame = [(1, y, x) for y, x in np.ndindex(record.grid[1:])]
    found = [token_attention(record, place) for place in frame]
    assert all(np.isnan(attention.weights[:, 0]).all() for attention in found)
    rows = [attention.weights[:, 1].reshape(2, -1) for attention in found]
    given = outputs["3.3"][1 * 2 + 1].flatten(0, 1)  # second sample, second frame
    torch.testing.assert_close(reproduced(record, rows, group=1), given, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("dims", "shape"), [(2, IMAGE), (3, CLIP)])
def test_light_models_attend_among_kept_tokens(dims, shape):
    backbone = UniFormerLight(SMALL, dims=dims, out_indices=(3,), output_norm="batch")
    recorder, outputs = recorded(backbone, shape)
    makes_scores, *keeping = recorder.records
    assert kept_tokens(makes_scores).all()
    for record in recorder.records:
        kept = kept_tokens(record)
        count = kept.size if record is makes_scores else kept.size // 2
        assert kept.sum() == count
        scores = token_scores(record)
        assert scores[kept].min() >= scores[~kept].max(initial=0)
        order = np.argsort(-scores[kept], kind="stable") if record in keeping else slice(None)
        found = [token_attention(record, None)]
        found += [token_attention(record, tuple(place)) for place in np.argwhere(kept)[order]]
        if record in keeping:
            dropped = tuple(np.argwhere(~kept)[0])
            found.append(token_attention(record, dropped))
            assert found[-1].asking == "representative"
        assert found[0].asking == "class token"
        assert {attention.asking for attention in found[1 : 1 + count]} == {"token"}
        rows = []
        for attention in found:
            assert_complete(attention)
            assert np.isnan(attention.weights[:, ~kept]).all()
            parts = [attention.others[CLASS_TOKEN][:, None], attention.weights[:, kept][:, order]]
            if record in keeping:
                parts.append(attention.others[DROPPED][:, None])
            rows.append(np.concatenate(parts, axis=1))
        given = outputs[record.name][0][1]
        torch.testing.assert_close(reproduced(record, rows), given, rtol=0, atol=1e-5)


def test_the_first_scores_are_the_class_tokens_attention():
    recorder, _ = recorded(UniFormerLight(SMALL), IMAGE)
    record = recorder.records[0]
    attention = token_attention(record, None).weights.mean(0)
    np.testing.assert_allclose(token_scores(record), attention, atol=1e-6)
