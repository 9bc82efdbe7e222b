"""The head of the lightweight video recognizers; needs mmaction2."""

from typing import Any

from mmaction.models import I3DHead
from mmaction.registry import MODELS
from mmengine.model import normal_init
from torch import Tensor, nn


@MODELS.register_module()
class ClassTokenVideoHead(I3DHead):
    """Classifier of the clip and, in training, of the class token.

    The authors' loss for `UniFormerLight` is half of each; in testing the clip's scores count
    alone. Official checkpoints call the layers `head` and `head_cls`; here they are
    `cls_head.fc_cls` and `cls_head.class_token_fc`.

    Args: as for mmaction2's `I3DHead`. The backbone has `class_token=True`.
    """

    def __init__(self, num_classes: int, in_channels: int, **options: object) -> None:
        super().__init__(num_classes, in_channels, **options)
        self.class_token_fc = nn.Linear(in_channels, num_classes)

    def init_weights(self) -> None:
        """Initialize both classifiers alike."""
        super().init_weights()
        normal_init(self.class_token_fc, std=self.init_std)

    def forward(self, x: tuple[Tensor, Tensor], **options: object) -> Tensor:
        """A feature map (B, C, T, H, W) and a class token (B, C) to scores (B, num_classes)."""
        return super().forward(x[0], **options)

    def loss(
        self, feats: tuple[Tensor, Tensor], data_samples: list[Any], **options: object
    ) -> dict[str, Tensor]:
        """Return half of the clip's loss and half of the class token's."""
        clip = self.loss_by_feat(self(feats, **options), data_samples)
        token = self.loss_by_feat(self.class_token_fc(feats[1]), data_samples)
        losses = {name: value for name, value in clip.items() if name != "loss_cls"}
        losses["loss_clip"] = 0.5 * clip["loss_cls"]
        losses["loss_class_token"] = 0.5 * token["loss_cls"]
        return losses
