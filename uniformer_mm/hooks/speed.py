"""Quicker backbones in any codebase's Runner: fused for testing, compiled for both."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from uniformer_mm.models import UniFormer
from uniformer_mm.models.fuse import fuse


class FuseHook(Hook):
    """Fuses the backbones of a model before it is tested: ``tools/test.py --fuse``.

    See `uniformer_mm.models.fuse`. Training and its validation are left alone, and so is what is
    saved: the fused copy is the Runner's model only while testing.
    """

    priority = "LOW"  # after whatever exchanges weights before a test

    def before_test(self, runner: Runner) -> None:
        """Replace the model by its fused copy.

        Raises:
            ValueError: There is no UniFormer in the model.
        """
        self._model = runner.model
        runner.model = fuse(runner.model)

    def after_test(self, runner: Runner) -> None:
        """Put the model back."""
        runner.model = self._model


class CompileHook(Hook):
    """Runs the backbones of a model through `torch.compile`: ``--compile`` of the tools.

    Detectors and other whole models hold Python that a graph cannot, so the backbone alone is
    compiled. The names of its tensors stay what they are.

    Args:
        options: Of `torch.compile`. By default sizes are dynamic, as multi-scale training and
            images of different shapes need it: the first size is compiled, the second once more
            for all sizes.
    """

    priority = "LOWEST"  # after the model was fused

    def __init__(self, **options: Any) -> None:
        self.options = options

    def before_train(self, runner: Runner) -> None:
        """Compile the backbones on their next call."""
        self._compile(runner.model)

    def before_test(self, runner: Runner) -> None:
        """Compile the backbones on their next call."""
        self._compile(runner.model)

    def _compile(self, model: nn.Module) -> None:
        for module in model.modules():
            if isinstance(module, UniFormer):
                module.compile(**self.options)
