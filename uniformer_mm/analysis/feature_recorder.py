"""Inputs and outputs of a backbone's blocks, recorded by forward hooks."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from uniformer_mm.errors import UserError
from uniformer_mm.models.uniformer import UniFormer, partition


@dataclass(eq=False)
class BlockRecord:
    """One block in one forward pass, for one sample of the batch.

    Attributes:
        name: Stage and number of the block in it, both counted from 1: '3.1'.
        block: The block.
        grid: Tokens of its map along (T,) H, W; empty until the block has run.
        attended: Input of its attention: (M, N, C), where M is the number of windows or, with
            divided attention, of frames; else 1.
        scores_before: Lightweight models: scores (N,) of the tokens by which the block selects
            them; None for a block that keeps all.
        scores_after: Lightweight models: scores (N,) for the next block.
        features: Its output (*grid, C).
    """

    name: str
    block: Any
    grid: tuple[int, ...] = ()
    attended: Tensor | None = None
    scores_before: Tensor | None = None
    scores_after: Tensor | None = None
    features: Tensor | None = None

    @property
    def stage(self) -> int:
        """Number of the stage, from 1."""
        return int(self.name.partition(".")[0])


class FeatureRecorder:
    """Context that records a forward pass of a backbone.

    Only the first pass after `clear` is recorded: test-time flipping has several.

    Args:
        backbone: The backbone.
        blocks: Names of blocks, as `choose_blocks` returns them.
        sample: Index in the batch of the sample to record.

    Attributes:
        input: The sample's input, (C, H, W) or (C, T, H, W), normalized; None until there is one.
        records: One per block.
    """

    def __init__(self, backbone: UniFormer, blocks: Sequence[str] = (), sample: int = 0) -> None:
        self.input: Tensor | None = None
        self._backbone = backbone
        self._batch_size = 0
        self._sample = sample
        self._handles = ExitStack()
        self.records = []
        for name in blocks:
            stage, number = name.split(".")
            block = backbone.get_submodule(f"blocks{stage}.{int(number) - 1}")
            self.records.append(BlockRecord(name, block))

    def __enter__(self) -> "FeatureRecorder":
        """Register the hooks."""
        hook = self._handles.enter_context
        hook(self._backbone.register_forward_pre_hook(self._record_input))
        for index, record in enumerate(self.records):
            hook(record.block.register_forward_pre_hook(partial(self._record_block_input, index)))
            hook(record.block.register_forward_hook(partial(self._record_block_output, index)))
            if hasattr(record.block.attn, "qkv"):
                qkv = record.block.attn.qkv
                hook(qkv.register_forward_pre_hook(partial(self._record_tokens, index)))
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the hooks."""
        self._handles.close()

    def clear(self) -> None:
        """Discard the recorded pass, and record the next one."""
        self.input = None
        self.records = [BlockRecord(record.name, record.block) for record in self.records]

    def _record_input(self, module: nn.Module, inputs: tuple[Tensor]) -> None:
        if self.input is None:
            (batch,) = inputs
            if self._sample >= len(batch):
                raise UserError(
                    f"frame {self._sample}: the model samples {len(batch)} frames, from 0"
                )
            self.input = batch[self._sample]
            self._batch_size = len(batch)

    def _record_block_input(self, index: int, block: Any, inputs: tuple[Any, ...]) -> None:
        record = self.records[index]
        if record.features is None:
            x, *carried = inputs
            record.grid = tuple(x.shape[1:-1])
            if carried and carried[1] is not None and getattr(block, "keep_ratio", 1) < 1:
                record.scores_before = carried[1][self._sample]

    def _record_tokens(self, index: int, module: nn.Module, inputs: tuple[Tensor]) -> None:
        record = self.records[index]
        if record.features is None:
            (tokens,) = inputs
            if tokens.dim() > 3:  # a map that is partitioned after the projection
                tokens = partition(tokens, record.block.window_size)
            record.attended = tokens.chunk(self._batch_size)[self._sample]

    def _record_block_output(self, index: int, block: Any, inputs: Any, output: Any) -> None:
        record = self.records[index]
        if record.features is None:
            if isinstance(output, tuple):
                record.scores_after = output[2][self._sample]
                output = output[0]
            record.features = output[self._sample]


def find_backbone(model: nn.Module) -> UniFormer:
    """The backbone of a model.

    Raises:
        UserError: The model has another backbone.
    """
    for module in model.modules():
        if isinstance(module, UniFormer):
            return module
    raise UserError(f"{type(model).__name__} has no UniFormer backbone to inspect")


def choose_blocks(
    backbone: UniFormer, names: Sequence[str] | None, stages: Sequence[int]
) -> list[str]:
    """Names of blocks, such as '3.1' for the first one of stage 3.

    Args:
        backbone: The backbone.
        names: Names of blocks, or ['all']; None for the first and the last of every stage, which
            with hybrid attention are a windowed and a global one.
        stages: Stages that may be named, counted from 1.

    Raises:
        UserError: There is no such block in these stages.
    """
    depths = {stage: len(getattr(backbone, f"blocks{stage}", ())) for stage in stages}
    available = {
        stage: [f"{stage}.{number}" for number in range(1, depth + 1)]
        for stage, depth in depths.items()
        if depth
    }
    if names is None:
        return [name for all_ in available.values() for name in dict.fromkeys((all_[0], all_[-1]))]
    everything = [name for all_ in available.values() for name in all_]
    if list(names) == ["all"]:
        return everything
    for name in names:
        if name not in everything:
            ranges = ", ".join(f"{all_[0]} to {all_[-1]}" for all_ in available.values())
            raise UserError(f"block {name}: choose from {ranges or 'no blocks'}, or all")
    return list(names)
