"""Learning-rate schedule of the image and video classifiers."""

import math

import pytest
import torch
from mmengine.registry import PARAM_SCHEDULERS

from uniformer_mm.engine.schedulers import WarmupCosineLR

LR, WARMUP_LR, ETA_MIN = 1e-3, 1e-6, 1e-5


def rates(count, **options):
    """Learning rate of each step of a training loop."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
    scheduler = WarmupCosineLR(optimizer, warmup_lr=WARMUP_LR, eta_min=ETA_MIN, **options)
    seen = []
    for _ in range(count):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def cosine(step, steps):
    return ETA_MIN + (LR - ETA_MIN) * (1 + math.cos(math.pi * step / steps)) / 2


def test_the_cosine_counts_from_the_start_of_the_warm_up_and_ends_at_its_minimum():
    expected = [WARMUP_LR + (LR - WARMUP_LR) * step / 3 for step in range(3)]
    expected += [cosine(step, 10) for step in range(3, 10)] + [ETA_MIN] * 2
    assert rates(12, T_max=10, warmup=3) == pytest.approx(expected, rel=1e-12)


def test_a_delay_keeps_the_first_value():
    assert rates(12, T_max=10, warmup=3, delay=1)[1:] == rates(11, T_max=10, warmup=3)
    assert rates(1, T_max=10, warmup=3, delay=1) == [WARMUP_LR]


def test_without_warm_up_it_starts_at_the_optimizers_rate():
    assert rates(10, T_max=10, warmup=0) == pytest.approx([cosine(step, 10) for step in range(10)])


def test_it_is_registered_and_resumes():
    def build():
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
        options = {"T_max": 10, "warmup": 3, "warmup_lr": WARMUP_LR, "eta_min": ETA_MIN}
        return PARAM_SCHEDULERS.build(
            {"type": "WarmupCosineLR", "optimizer": optimizer, "by_epoch": True, **options}
        )

    whole, first, second = build(), build(), build()
    for _ in range(5):
        first.optimizer.step()
        first.step()
    second.load_state_dict(first.state_dict())
    for _ in range(6):
        whole.optimizer.step()
        whole.step()
    second.optimizer.step()
    second.step()
    assert second.optimizer.param_groups[0]["lr"] == whole.optimizer.param_groups[0]["lr"]


def pyslowfast(epoch, base, epochs, warmup, ends):
    """Rate at a fractional epoch: cosine policy with COSINE_AFTER_WARMUP."""
    if epoch < warmup:
        return epoch * (base - ends) / warmup + ends
    return ends + (base - ends) * (math.cos(math.pi * (epoch - warmup) / (epochs - warmup)) + 1) / 2


@pytest.mark.parametrize(
    ("base", "epochs", "warmup", "ends"),
    [(4e-4, 100, 10, 1e-6), (4e-4, 110, 10, 4e-6), (2e-4, 60, 5, 1e-6), (5e-5, 25, 5, 1e-6)],
)
def test_after_the_warm_up_it_matches_pyslowfast_per_iteration(base, epochs, warmup, ends):
    epoch_length = 7
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=base)
    config = {
        "type": "mmengine.WarmupCosineLR",
        "T_max": epochs,
        "warmup": warmup,
        "warmup_lr": ends,
        "eta_min": ends,
        "after_warmup": True,
        "convert_to_iter_based": True,
        "end": epochs,
    }
    scheduler = PARAM_SCHEDULERS.build(
        config, default_args={"optimizer": optimizer, "epoch_length": epoch_length}
    )
    for iteration in range(epochs * epoch_length):
        expected = pyslowfast(iteration / epoch_length, base, epochs, warmup, ends)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected, rel=1e-9)
        optimizer.step()
        scheduler.step()
