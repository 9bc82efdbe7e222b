"""A classifier with more outputs than classes; needs mmaction2."""

from typing import Any

from mmaction.models import I3DHead
from mmaction.registry import MODELS
from torch import Tensor
from torch.nn import functional as F


@MODELS.register_module()
class SpareOutputsHead(I3DHead):
    """mmaction2's `I3DHead` with outputs that no class has, as in the authors' model of HMDB51.

    That one has 101 outputs for 51 classes. The spare ones are trained like classes that never
    occur and get their share of the label smoothing. Scores are of the classes alone.

    Args:
        num_classes: Number of classes.
        in_channels: Channels of the feature map.
        spare_outputs: Number of outputs after those of the classes.
        **options: Of `I3DHead`.
    """

    def __init__(
        self, num_classes: int, in_channels: int, spare_outputs: int, **options: object
    ) -> None:
        super().__init__(num_classes + spare_outputs, in_channels, **options)
        self.spare_outputs = spare_outputs

    def forward(self, x: Tensor, **options: object) -> Tensor:
        """A feature map (B, C, T, H, W) to scores of the classes (B, num_classes)."""
        scores = super().forward(x, **options)
        return scores[:, : scores.shape[1] - self.spare_outputs]

    def loss(self, feats: Tensor, data_samples: list[Any], **options: object) -> dict[str, Tensor]:
        """The loss of all outputs; soft labels are 0 for the spare ones."""
        for sample in data_samples:
            if len(sample.gt_label) > 1:
                sample.set_gt_label(F.pad(sample.gt_label, (0, self.spare_outputs)))
        return self.loss_by_feat(super().forward(feats, **options), data_samples)
