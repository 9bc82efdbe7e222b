"""Faster backbones in the Runner of any codebase: fused or in bfloat16 for testing, or compiled."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from uniformer_mm.models.bf16 import to_bf16
from uniformer_mm.models.compiled import compile_blocks
from uniformer_mm.models.fuse import fuse


class FuseHook(Hook):
    """Fuses the backbones of a model while it is tested: ``tools/test.py --fuse``.

    The Runner's model is a fused copy during the test; training, validation and checkpoints keep
    the original, which waits in the CPU's memory. See `uniformer_mm.models.fuse`.
    """

    priority = "LOW"  # after hooks that replace weights before a test

    def before_test(self, runner: Runner) -> None:
        """Replace the model by its fused copy.

        Raises:
            ValueError: The model has no UniFormer.
        """
        self._model = runner.model
        self._device = next(runner.model.parameters()).device
        runner.model = self._copy(runner.model)
        self._model.to("cpu")

    def after_test(self, runner: Runner) -> None:
        """Restore the model."""
        runner.model = self._model.to(self._device)

    def _copy(self, model: nn.Module) -> nn.Module:
        return fuse(model)


class BFloat16Hook(FuseHook):
    """Runs a model in bfloat16 while it is tested: ``tools/test.py --dtype bf16``.

    As `FuseHook`, with `uniformer_mm.models.bf16`.
    """

    def _copy(self, model: nn.Module) -> nn.Module:
        return to_bf16(model)


class CompileHook(Hook):
    """Compiles the backbones of a model block by block: ``--compile`` of the tools.

    Detectors and other whole models hold Python that a graph cannot. Parameter names do not change.

    Args:
        options: Of `torch.compile`. By default a second input size triggers one more compilation,
            with dynamic sizes; blocks for which it fails run eagerly.
    """

    priority = "LOWEST"  # after the model was fused

    def __init__(self, **options: Any) -> None:
        self.options = options

    def before_train(self, runner: Runner) -> None:
        """Compile the backbones on their next call."""
        compile_blocks(runner.model, **self.options)

    before_test = before_train
