"""Attention weights of a token, computed from the recorded input of a block's attention."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from uniformer_mm.analysis.feature_recorder import BlockRecord
from uniformer_mm.models.uniformer import DividedGlobalBlock, attention_weights
from uniformer_mm.models.uniformer_light import HourglassBlock

PADDING = "padding of the window"
CLASS_TOKEN = "class token"
DROPPED = "dropped tokens"


@dataclass(frozen=True)
class TokenAttention:
    """Attention of one token to each token of a map.

    Attributes:
        weights: (heads, *grid); NaN where the token does not attend. With `others` they sum to 1.
        others: Weights (heads,) of what is not a token of the map, by name.
        query: The token that attends: 'token', 'class token', or 'representative' for a token that
            a lightweight model has dropped.
    """

    weights: NDArray[np.float32]
    others: dict[str, NDArray[np.float32]]
    query: str = "token"


def token_attention(record: BlockRecord, place: tuple[int, ...] | None) -> TokenAttention:
    """The attention of one token in a block that has run.

    In a window, the token attends to the tokens of its window and to the zero padding that
    completes windows at the right and at the bottom. Of divided attention it is the step in space,
    within the token's frame. In a lightweight model the kept tokens attend to each other, to the
    class token and to one representative of all dropped ones, which also attends in their place.

    Args:
        record: Record of a block of stage 3 or 4.
        place: Indices (t,) y, x of the token; None for the class token of a lightweight model.
    """
    if isinstance(record.block, HourglassBlock):
        return _among_kept(record, place)
    assert place is not None, "only lightweight models have a class token"
    size = record.block.window_size
    if size:
        return _in_window(record, place, size)
    if isinstance(record.block, DividedGlobalBlock):
        time, *position = place
        row = _row(record, time, int(np.ravel_multi_index(position, record.grid[1:])))
        weights = np.full((len(row), *record.grid), np.nan, np.float32)
        weights[:, time] = row.reshape(-1, *record.grid[1:])
        return TokenAttention(weights, {})
    row = _row(record, 0, int(np.ravel_multi_index(place, record.grid)))
    return TokenAttention(row.reshape(-1, *record.grid), {})


def kept_tokens(record: BlockRecord) -> NDArray[np.bool_]:
    """Which tokens of the map a block of a lightweight model keeps, (*grid)."""
    kept = np.zeros(int(np.prod(record.grid)), np.bool_)
    kept[_kept_order(record)] = True
    return kept.reshape(record.grid)


def token_scores(record: BlockRecord) -> NDArray[np.float32]:
    """Scores (*grid) by which a block of a lightweight model keeps tokens.

    Of the block that keeps all tokens they are the scores that it computes.
    """
    scores = record.scores_after if record.scores_before is None else record.scores_before
    assert scores is not None, "only blocks of lightweight models have scores"
    return scores.float().cpu().numpy().reshape(record.grid)


def _among_kept(record: BlockRecord, place: tuple[int, ...] | None) -> TokenAttention:
    """In the sequence of class token, kept tokens (best first) and their representative."""
    order = _kept_order(record)
    query, position = CLASS_TOKEN, 0
    if place is not None:
        found = np.flatnonzero(order == np.ravel_multi_index(place, record.grid))
        query = "token" if len(found) else "representative"
        position = 1 + (int(found[0]) if len(found) else len(order))
    row = _row(record, 0, position)
    weights = np.full((len(row), int(np.prod(record.grid))), np.nan, np.float32)
    weights[:, order] = row[:, 1 : 1 + len(order)]
    others = {CLASS_TOKEN: row[:, 0]}
    if record.scores_before is not None:
        others[DROPPED] = row[:, -1]
    return TokenAttention(weights.reshape(-1, *record.grid), others, query)


def _kept_order(record: BlockRecord) -> NDArray[np.intp]:
    """Indices of the kept tokens as the block has sorted them."""
    count = int(np.prod(record.grid))
    if record.scores_before is None:
        return np.arange(count)
    # The same sort as in the block, on the same device: also of equal scores.
    order = record.scores_before[None].argsort(dim=1, descending=True)
    return order[0, : int(count * record.block.keep_ratio)].cpu().numpy()


def _in_window(record: BlockRecord, place: tuple[int, ...], size: int) -> TokenAttention:
    """In a window of `size` x `size` tokens; windows and tokens are counted row by row."""
    (row, y), (column, x) = (divmod(coordinate, size) for coordinate in place)
    columns = -(-record.grid[1] // size)
    window = _row(record, row * columns + column, y * size + x).reshape(-1, size, size)
    top, left = row * size, column * size
    weights = np.full((len(window), *record.grid), np.nan, np.float32)
    inside = weights[:, top : top + size, left : left + size]
    inside[:] = window[:, : inside.shape[1], : inside.shape[2]]
    if inside.shape == window.shape:
        return TokenAttention(weights, {})
    return TokenAttention(weights, {PADDING: window.sum((1, 2)) - inside.sum((1, 2))})


@torch.no_grad()
def _row(record: BlockRecord, group: int, position: int) -> NDArray[np.float32]:
    """Weights (heads, N) of the token at a position of a window, of a frame, or of a map."""
    assert record.attended is not None, "the block has run"
    attention = record.block.attn
    query, key, _ = attention.split(attention.qkv(record.attended[group : group + 1]))
    weights = attention_weights(query[:, :, position : position + 1].float(), key.float())
    return weights[0, :, 0].cpu().numpy()
