"""Mixup and CutMix of clips pair each clip with its counterpart in the reversed batch."""

import numpy as np
import pytest
import torch

pytest.importorskip("mmaction")

from mmaction.structures import ActionDataSample

from uniformer_mm.models.data_preprocessors.mix_clips import MixClips

SHAPES = [(4, 1, 3, 2, 16, 24), (4, 8, 3, 16, 24)]


def mix(imgs, seed, **options):
    samples = [ActionDataSample().set_gt_label(label) for label in range(len(imgs))]
    np.random.seed(seed)
    mixed, samples = MixClips(num_classes=6, **options)(imgs, samples)
    return mixed, torch.stack([sample.gt_label for sample in samples])


def constant(shape):
    """Clip k has the value k everywhere."""
    return torch.arange(shape[0]).float().view(-1, *[1] * (len(shape) - 1)).expand(shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cutmix_prob", [0.0, 1.0])
def test_labels_say_how_much_of_which_clip_is_seen(shape, cutmix_prob):
    partner = torch.arange(4).flip(0)
    for seed in range(20):
        mixed, labels = mix(constant(shape), seed, cutmix_prob=cutmix_prob)
        assert mixed.shape == shape
        assert labels.shape == (4, 6)
        torch.testing.assert_close(labels.sum(1), torch.ones(4))
        share = labels[0, 0]
        for clip in range(4):
            expected = share * clip + (1 - share) * partner[clip]
            torch.testing.assert_close(mixed[clip].mean(), expected)
            torch.testing.assert_close(labels[clip, clip], share)
            torch.testing.assert_close(labels[clip, partner[clip]], 1 - share)


def test_clips_may_have_several_labels():
    first, second = torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0.0, 1.0, 1.0])
    samples = [ActionDataSample().set_gt_label(label) for label in (first, second)]
    np.random.seed(0)
    mixed, samples = MixClips(num_classes=3)(constant((2, 1, 3, 2, 16, 24)), samples)
    share = 1 - mixed[0].mean()
    torch.testing.assert_close(samples[0].gt_label, share * first + (1 - share) * second)
    torch.testing.assert_close(samples[1].gt_label, share * second + (1 - share) * first)


def test_cutmix_puts_one_box_into_all_frames_of_all_clips():
    for seed in range(20):
        imgs = constant(SHAPES[0])
        mixed, _ = mix(imgs, seed, cutmix_prob=1.0)
        foreign = mixed != imgs
        rows, columns = (foreign.flatten(0, 3).any(dim).any(0).nonzero() for dim in (2, 1))
        if len(rows):
            box = torch.zeros(16, 24, dtype=torch.bool)
            box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
            assert (foreign == box).all()


def test_the_batch_is_not_changed_in_place():
    imgs = constant(SHAPES[0]).contiguous()
    before = imgs.clone()
    mix(imgs, 0, cutmix_prob=1.0)
    torch.testing.assert_close(imgs, before)


def test_both_kinds_are_as_frequent_and_shares_are_beta_distributed():
    imgs = torch.rand(2, 1, 3, 1, 32, 32)
    shares: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(600):
        mixed, labels = mix(imgs, seed)
        is_cutmix = bool((mixed == imgs).any() or (mixed == imgs.flip(0)).any())
        shares[is_cutmix].append(float(labels[0, 0]))
    assert len(shares[True]) == pytest.approx(300, abs=50)
    mixup = np.array(shares[False])
    assert mixup.mean() == pytest.approx(0.5, abs=0.06)
    assert mixup.var() == pytest.approx(1 / (4 * (2 * 0.8 + 1)), abs=0.02)  # of Beta(0.8, 0.8)
    assert np.mean(shares[True]) > 0.55, "boxes lose what is outside of the frame"
