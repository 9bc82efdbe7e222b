"""Mixup and CutMix of clips, as the authors of the video models trained with."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.registry import MODELS
from torch import Tensor
from torch.nn import functional as F


@MODELS.register_module()
class MixClips:
    """Mixes each clip of a batch with its counterpart in the reversed batch (timm's 'batch' mode).

    One of Mixup (arXiv 1710.09412) and CutMix (arXiv 1905.04899), and one share, for all clips; a
    region is the same in all frames. mmaction's RandomBatchAugment pairs clips at random: with few
    videos per GPU many meet themselves or the other sample of their video.

    It is a `blending` of mmaction's ActionDataPreprocessor. Label smoothing is the head's. Clips
    may have several labels (`multi_class=True` in mmaction's datasets).

    Args:
        num_classes: Length of the mixed labels.
        mixup_alpha: Both parameters of the beta distribution of Mixup's share.
        cutmix_alpha: The same for the share of a clip's area that CutMix leaves.
        cutmix_prob: Probability of CutMix; otherwise it is Mixup.
    """

    def __init__(
        self,
        num_classes: int,
        mixup_alpha: float = 0.8,
        cutmix_alpha: float = 1.0,
        cutmix_prob: float = 0.5,
    ) -> None:
        self.num_classes = num_classes
        self.mixup_alpha = mixup_alpha
        self.cutmix_alpha = cutmix_alpha
        self.cutmix_prob = cutmix_prob

    def __call__(
        self, imgs: Tensor, batch_data_samples: Sequence[Any]
    ) -> tuple[Tensor, Sequence[Any]]:
        """Mix a batch.

        Args:
            imgs: Normalised clips (B, ..., H, W).
            batch_data_samples: One ActionDataSample per clip, with a class (1,) or with zeros and
                ones (num_classes,); gets a soft label (num_classes,).
        """
        labels = torch.stack([sample.gt_label for sample in batch_data_samples]).to(imgs.device)
        if labels.shape[1] == 1:
            labels = F.one_hot(labels[:, 0], self.num_classes)
        labels = labels.to(imgs.dtype)
        if np.random.random() < self.cutmix_prob:
            imgs, share = _cutmix(imgs, np.random.beta(self.cutmix_alpha, self.cutmix_alpha))
        else:
            share = np.random.beta(self.mixup_alpha, self.mixup_alpha)
            imgs = share * imgs + (1 - share) * imgs.flip(0)
        labels = share * labels + (1 - share) * labels.flip(0)
        for sample, label in zip(batch_data_samples, labels, strict=True):
            sample.set_gt_label(label)
        return imgs, batch_data_samples


def _cutmix(imgs: Tensor, share: float) -> tuple[Tensor, float]:
    """Clips with a box of the reversed batch, and the share of the area outside of it.

    The box has an area of 1 - `share` and its centre anywhere; what exceeds the frame is lost.
    """
    height, width = imgs.shape[-2:]
    rows, columns = (_interval(side, int(side * np.sqrt(1 - share))) for side in (height, width))
    mixed = imgs.clone()
    mixed[..., rows, columns] = imgs.flip(0)[..., rows, columns]
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return mixed, 1 - area / (height * width)


def _interval(side: int, length: int) -> slice:
    centre = np.random.randint(side)
    return slice(max(centre - length // 2, 0), min(centre + length // 2, side))
