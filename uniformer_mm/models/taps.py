"""Channels-first views of layers, for programs that hook modules."""

from typing import Any

from torch import Tensor, nn


class ChannelsFirstTap(nn.Identity):
    """Gets the output of a layer as (B, C, ...) at each forward pass, and passes its gradient on.

    Inside of the backbone, the outputs of embeddings, blocks, LayerNorms, attention and linear
    layers are channels-last, (B, ..., C). Class activation maps (pytorch-grad-cam, Captum) need
    channels-first: give them the tap instead of the layer. Convolutions and BatchNorms are
    channels-first already.

    Args:
        layer: A layer with channels-last output, such as `backbone.norm4`. It is not changed, but
            for a hook.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self._handle = layer.register_forward_hook(self._pass_through)

    def remove(self) -> None:
        """Remove the hook from the layer."""
        self._handle.remove()

    def _pass_through(self, layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return self(output.movedim(-1, 1)).movedim(1, -1)
