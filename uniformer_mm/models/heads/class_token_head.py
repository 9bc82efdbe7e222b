"""The head of the lightweight image classifiers; needs mmpretrain."""

from collections.abc import Sequence

from mmpretrain.models import LinearClsHead
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn


@MODELS.register_module()
class ClassTokenHead(LinearClsHead):
    """Classifier of the image and, in training, of the class token.

    The authors' loss for `UniFormerLight` is half of each; in testing the image's scores count
    alone. Official checkpoints call the layers `head` and `head_cls`; here they are `head.fc` and
    `head.class_token_fc`.

    Args: as for mmpretrain's `LinearClsHead`. The backbone has `class_token=True` and an int for
        `out_indices`; there is no neck.
    """

    def __init__(self, num_classes: int, in_channels: int, **options: object) -> None:
        super().__init__(num_classes, in_channels, **options)
        self.class_token_fc = nn.Linear(in_channels, num_classes)

    def pre_logits(self, feats: Sequence[Tensor]) -> Tensor:
        """The feature map (B, C, H, W), first of the two features, pooled to (B, C)."""
        return feats[0].flatten(2).mean(2)

    def loss(
        self, feats: Sequence[Tensor], data_samples: list[DataSample], **options: object
    ) -> dict[str, Tensor]:
        """Return half of the image's loss and half of the class token's."""
        image = self._get_loss(self(feats), data_samples, **options)
        token = self._get_loss(self.class_token_fc(feats[1]), data_samples, **options)
        losses = {name: value for name, value in image.items() if name != "loss"}
        losses["loss_image"] = 0.5 * image["loss"]
        losses["loss_class_token"] = 0.5 * token["loss"]
        return losses
