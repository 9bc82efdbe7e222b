"""mmpose's heatmap head with a choice of the norm in its deconvolutions."""

from typing import Any

from mmcv.cnn import build_norm_layer
from mmpose.models.heads import HeatmapHead
from mmpose.registry import MODELS
from torch import nn


@MODELS.register_module()
class DeconvNormHeatmapHead(HeatmapHead):
    """`HeatmapHead` whose deconvolutions have any norm, for instance SyncBN.

    "Simple Baselines for Human Pose Estimation and Tracking", arXiv 1804.06208. mmpose hard-codes
    BatchNorm. Tensor names and shapes stay those of `HeatmapHead`, so that checkpoints of either
    fit the other.

    Args:
        norm_cfg: Config of the norm after each deconvolution.
        kwargs: As for `HeatmapHead`.
    """

    def __init__(self, *, norm_cfg: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for index, layer in enumerate(self.deconv_layers.children()):
            if isinstance(layer, nn.BatchNorm2d):
                self.deconv_layers[index] = build_norm_layer(norm_cfg, layer.num_features)[1]
