"""Where tokens look: the attention that a block has paid, made again from what it got."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uniformer_mm.inspection.recording import BlockRecord
from uniformer_mm.models.uniformer import Attention, DividedGlobalBlock, attention_weights
from uniformer_mm.models.uniformer_light import HourglassBlock

PADDING = "padding of the window"
CLASS_TOKEN = "class token"
DROPPED = "tokens not kept"


@dataclass(frozen=True)
class TokenAttention:
    """How much of its attention a token pays to each token of a map.

    Attributes:
        weights: (heads, *grid); NaN where the token cannot look. With `others` they sum to 1.
        others: What goes to something that is no token of the map, (heads,) by its name.
        asking: Whose attention it is: 'token', 'class token', or, for a token that a light model
            has not kept, 'representative'.
    """

    weights: NDArray[np.float32]
    others: dict[str, NDArray[np.float32]]
    asking: str


def token_attention(record: BlockRecord, place: tuple[int, ...] | None) -> TokenAttention:
    """The attention of one token in a block that has run.

    In a window, the token looks at the tokens of its window and at the zero padding that completes
    windows at the right and at the bottom. With divided attention it is the step in space, within
    the token's frame. In a light model the kept tokens look at each other, at the class token and
    at one representative of all that are not kept, which also looks in their stead.

    Args:
        record: Of a block of stage 3 or 4.
        place: The token, (t,) y, x; None for the class token of a light model.
    """
    if isinstance(record.block, HourglassBlock):
        return _among_kept(record, record.block, place)
    assert place is not None, "only light models have a class token"
    attention: Any = record.block.attn
    tokens = record.attended["attn"]
    size = record.block.window_size
    if size:
        return _in_window(record.grid, _row(attention, tokens, *_in_windows(record, place)), place)
    heads = attention.num_heads
    if isinstance(record.block, DividedGlobalBlock):
        time, y, x = place
        row = _row(attention, tokens, time, y * record.grid[2] + x)
        weights = np.full((heads, *record.grid), np.nan, np.float32)
        weights[:, time] = row.reshape(heads, *record.grid[1:])
        return TokenAttention(weights, {}, "token")
    row = _row(attention, tokens, 0, int(np.ravel_multi_index(place, record.grid)))
    return TokenAttention(row.reshape(heads, *record.grid), {}, "token")


def kept_tokens(record: BlockRecord) -> NDArray[np.bool_]:
    """Which tokens of the map a block of a light model has kept, (*grid)."""
    kept = np.zeros(int(np.prod(record.grid)), np.bool_)
    kept[_kept_order(record)] = True
    return kept.reshape(record.grid)


def token_scores(record: BlockRecord) -> NDArray[np.float32]:
    """Scores (*grid) by which a block of a light model keeps tokens.

    Those of the block that keeps all are the ones that it makes.
    """
    scores = record.scores_after if record.scores_before is None else record.scores_before
    assert scores is not None, "only blocks of light models have scores"
    return scores.float().cpu().numpy().reshape(record.grid)


def _among_kept(
    record: BlockRecord, block: HourglassBlock, place: tuple[int, ...] | None
) -> TokenAttention:
    """In the sequence of class token, kept tokens (best first) and their representative."""
    order = _kept_order(record)
    asking, position = CLASS_TOKEN, 0
    if place is not None:
        found = np.flatnonzero(order == np.ravel_multi_index(place, record.grid))
        asking = "token" if len(found) else "representative"
        position = 1 + (int(found[0]) if len(found) else len(order))
    row = _row(block.attn, record.attended["attn"], 0, position)
    weights = np.full((len(row), int(np.prod(record.grid))), np.nan, np.float32)
    weights[:, order] = row[:, 1 : 1 + len(order)]
    others = {CLASS_TOKEN: row[:, 0]}
    if record.scores_before is not None:
        others[DROPPED] = row[:, -1]
    return TokenAttention(weights.reshape(-1, *record.grid), others, asking)


def _kept_order(record: BlockRecord) -> NDArray[np.intp]:
    """Indices of the kept tokens as the block has sorted them."""
    count = int(np.prod(record.grid))
    if record.scores_before is None:
        return np.arange(count)
    block: Any = record.block
    # The same sort as in the block, on the same device: also of equal scores.
    order = record.scores_before[None].argsort(dim=1, descending=True)
    return order[0, : int(count * block.keep_ratio)].cpu().numpy()


def _in_windows(record: BlockRecord, place: tuple[int, ...]) -> tuple[int, int]:
    """Number of the window that a token is in, and its number there; both row by row."""
    size: Any = record.block.window_size
    (row, y), (column, x) = (divmod(coordinate, size) for coordinate in place)
    return row * -(-record.grid[1] // size) + column, y * size + x


def _in_window(
    grid: tuple[int, ...], row: NDArray[np.float32], place: tuple[int, ...]
) -> TokenAttention:
    """Put the weights (heads, size * size) of a token's window into the map."""
    size = round(row.shape[1] ** 0.5)
    top, left = (coordinate // size * size for coordinate in place)
    height, width = min(size, grid[0] - top), min(size, grid[1] - left)
    window = row.reshape(-1, size, size)
    inside = window[:, :height, :width]
    weights = np.full((len(row), *grid), np.nan, np.float32)
    weights[:, top : top + height, left : left + width] = inside
    padding = window.sum((1, 2)) - inside.sum((1, 2))
    others = {PADDING: padding} if (height, width) != (size, size) else {}
    return TokenAttention(weights, others, "token")


@torch.no_grad()
def _row(attention: Attention, tokens: Tensor, group: int, position: int) -> NDArray[np.float32]:
    """Weights (heads, N) of the token at a position of a window, of a frame, or of a map."""
    query, key, _ = attention.split(attention.qkv(tokens[group : group + 1]))
    weights = attention_weights(query[:, :, position : position + 1].float(), key.float())
    return weights[0, :, 0].cpu().numpy()
