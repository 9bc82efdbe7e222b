"""The head of the token-labelling classifiers; needs mmpretrain."""

from collections.abc import Sequence
from typing import Any

import torch
from mmpretrain.models import ClsHead
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

AUXILIARY_SHARE = 0.5
"""Weight of the best token's score, relative to the image's, in testing (as in LV-ViT)."""


@MODELS.register_module()
class TokenLabelingHead(ClsHead):
    """A classifier of the image and one of every token ("All Tokens Matter", arXiv 2104.10858).

    The image's scores come from the mean over the tokens. In testing, half of the highest score
    that any token has for a class is added to them. In training, image and tokens have a loss each.

    The authors trained the tokens with labels of their own, made by NFNet-F6. Here every token has
    its image's label, as in the authors' code when it is given no others; where
    `MixTokenDataPreprocessor` has mixed two images, a token has that of the image it comes from.

    Official checkpoints call the two layers `head` and `aux_head`; here they are `head.fc` and
    `head.aux_fc`.

    Args:
        num_classes: Number of classes.
        in_channels: Channels of the tokens.
        loss: Config of a loss that takes one score per class as its target.
        init_cfg: Initialization, as in mmengine; default: that of the authors.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        loss: dict[str, Any],
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        init_cfg = init_cfg or {"type": "TruncNormal", "layer": "Linear", "std": 0.02}
        super().__init__(loss=loss, init_cfg=init_cfg)
        self.num_classes = num_classes
        self.fc = nn.Linear(in_channels, num_classes)
        self.aux_fc = nn.Linear(in_channels, num_classes)

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Feature maps (B, C, H, W), of which the last one counts, to scores (B, num_classes)."""
        tokens = _tokens(feats)
        return self.fc(tokens.mean((1, 2))) + AUXILIARY_SHARE * self.aux_fc(tokens).amax((1, 2))

    def loss(self, feats: Sequence[Tensor], data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Return the losses of the image and of its tokens, with equal weights."""
        tokens = _tokens(feats)
        batch, height, width, _ = tokens.shape
        labels = self._labels(data_samples)
        token_labels = labels[:, None, None].repeat(1, height, width, 1)
        if box := data_samples[0].get("mixed_tokens"):
            top, bottom, left, right = box
            token_labels[:, top:bottom, left:right] = labels.flip(0)[:, None, None]
        # The mean mixes an image's label in proportion to the tokens of each of the two images.
        labels = token_labels.mean((1, 2))
        count = batch * height * width
        return {
            "loss_image": self.loss_module(self.fc(tokens.mean((1, 2))), labels, avg_factor=batch),
            "loss_tokens": self.loss_module(
                self.aux_fc(tokens).flatten(0, 2), token_labels.flatten(0, 2), avg_factor=count
            ),
        }

    def _labels(self, data_samples: list[DataSample]) -> Tensor:
        """Return one score per class (B, num_classes)."""
        if "gt_score" in data_samples[0]:
            return torch.stack([sample.gt_score for sample in data_samples]).float()
        indices = torch.cat([sample.gt_label for sample in data_samples])
        return nn.functional.one_hot(indices, self.num_classes).float()


def _tokens(feats: Sequence[Tensor]) -> Tensor:
    """Return the tokens (B, H, W, C) of the last feature map."""
    return feats[-1].movedim(1, -1)
