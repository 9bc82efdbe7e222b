"""What blocks of a backbone get and give, kept by hooks: the forward pass stays as it is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, cast

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from uniformer_mm.errors import UserError
from uniformer_mm.models.uniformer import Attention, GlobalBlock, UniFormer, partition


@dataclass(eq=False)
class BlockRecord:
    """One block in one forward pass, for one sample of the batch.

    Attributes:
        stage: Counted from 1.
        number: Of the block in its stage, counted from 1.
        block: The block.
        grid: Tokens of its map along (T,) H, W; empty until the block has run.
        attended: What its attentions got, by their name in the block: (M, N, C), where M is the
            number of windows (or of frames), 1 without.
        scores_before: Light models: the tokens' scores (N,) that chose which ones are kept; None
            for a block that keeps all.
        scores_after: Light models: the scores (N,) that it hands on.
        features: Its map (*grid, C).
    """

    stage: int
    number: int
    block: nn.Module
    grid: tuple[int, ...] = ()
    attended: dict[str, Tensor] = field(default_factory=dict)
    scores_before: Tensor | None = None
    scores_after: Tensor | None = None
    features: Tensor | None = None

    @property
    def name(self) -> str:
        """As the user calls it: stage and number."""
        return f"{self.stage}.{self.number}"

    def clear(self) -> None:
        """Forget the forward pass."""
        self.grid = ()
        self.attended = {}
        self.scores_before = self.scores_after = self.features = None


class Recorder:
    """Records a forward pass of a backbone: its input, and what happens in some blocks.

    Only the first pass after `clear` counts: with test-time flipping there are several.

    Args:
        backbone: What is recorded.
        blocks: Names of blocks, as `choose_blocks` returns them.
        sample: Of the batch, counted from 0.

    Attributes:
        input: What the sample looked like to the backbone, (C, H, W) or (C, T, H, W), normalised;
            None until there is one.
        batch_size: Samples of the batch that it was in.
        records: One per block.
    """

    def __init__(self, backbone: UniFormer, blocks: Sequence[str], sample: int = 0) -> None:
        self.input: Tensor | None = None
        self.batch_size = 0
        self.records = [_record(backbone, name) for name in blocks]
        self._backbone = backbone
        self._sample = sample
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> "Recorder":
        """Listen."""
        self._handles.append(self._backbone.register_forward_pre_hook(self._enter_backbone))
        for record in self.records:
            block = record.block
            hooks = [
                block.register_forward_pre_hook(partial(self._enter_block, record)),
                block.register_forward_hook(partial(self._leave_block, record)),
            ]
            for name, module in block.named_children():
                if isinstance(module, Attention):
                    hook = partial(self._enter_attention, record, name)
                    hooks.append(module.qkv.register_forward_pre_hook(hook))
            self._handles += hooks
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the backbone as it was."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def clear(self) -> None:
        """Be ready for another forward pass."""
        self.input = None
        for record in self.records:
            record.clear()

    def _enter_backbone(self, module: nn.Module, inputs: tuple[Tensor]) -> None:
        if self.input is None:
            if self._sample >= len(inputs[0]):
                raise UserError(
                    f"frame {self._sample}: the model sees {len(inputs[0])} frames, from 0"
                )
            self.input = inputs[0][self._sample]
            self.batch_size = len(inputs[0])

    def _enter_block(self, record: BlockRecord, block: nn.Module, inputs: tuple[Any, ...]) -> None:
        if record.features is None:
            x, *carried = inputs
            record.grid = tuple(x.shape[1:-1])
            if carried and carried[1] is not None and getattr(block, "keep_ratio", 1) < 1:
                record.scores_before = carried[1][self._sample]

    def _enter_attention(
        self, record: BlockRecord, name: str, module: nn.Module, inputs: tuple[Tensor]
    ) -> None:
        if record.features is None:
            (tokens,) = inputs
            if tokens.dim() > 3:  # a map, see `window_attention`: windows are cut later
                tokens = partition(tokens, cast(GlobalBlock, record.block).window_size)
            per_sample = len(tokens) // self.batch_size
            start = self._sample * per_sample
            record.attended[name] = tokens[start : start + per_sample]

    def _leave_block(
        self, record: BlockRecord, block: nn.Module, inputs: tuple[Any, ...], output: Any
    ) -> None:
        if record.features is None:
            if isinstance(output, tuple):
                record.scores_after = output[2][self._sample]
                output = output[0]
            record.features = output[self._sample]


def find_backbone(model: nn.Module) -> UniFormer:
    """The backbone of a model.

    Raises:
        UserError: It is none of ours.
    """
    for module in model.modules():
        if isinstance(module, UniFormer):
            return module
    raise UserError(f"there is no UniFormer in this {type(model).__name__}: nothing to look into")


def choose_blocks(
    backbone: UniFormer, names: Sequence[str] | None, stages: Sequence[int]
) -> list[str]:
    """Names of blocks, such as '3.1' for the first one of stage 3.

    Args:
        backbone: Whose blocks.
        names: What the user asked for: blocks, or 'all'; None for the first and the last of every
            stage. With hybrid attention these are the windowed and the global one.
        stages: Where there is something to see, counted from 1.

    Raises:
        UserError: There is no such block, or nothing to see in it.
    """
    available = {stage: _depth(backbone, stage) for stage in stages if _depth(backbone, stage)}
    if names is None:
        pairs = ((stage, sorted({1, depth})) for stage, depth in available.items())
        return [f"{stage}.{number}" for stage, numbers in pairs for number in numbers]
    everything = list(_all_blocks(available))
    if list(names) == ["all"]:
        return everything
    for name in names:
        if name not in everything:
            ranges = ", ".join(f"{stage}.1 to {stage}.{n}" for stage, n in available.items())
            raise UserError(f"block {name}: choose from {ranges or 'none'}, or all")
    return list(names)


def _all_blocks(depths: dict[int, int]) -> Iterator[str]:
    for stage, depth in depths.items():
        yield from (f"{stage}.{number}" for number in range(1, depth + 1))


def _depth(backbone: UniFormer, stage: int) -> int:
    return len(getattr(backbone, f"blocks{stage}", ()))


def _record(backbone: UniFormer, name: str) -> BlockRecord:
    stage, number = (int(part) for part in name.split("."))
    return BlockRecord(stage, number, getattr(backbone, f"blocks{stage}")[number - 1])
