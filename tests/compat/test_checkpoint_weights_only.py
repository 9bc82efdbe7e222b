"""Checkpoints of a real Runner load and resume; other content than plain data is refused."""

import io
import os
import pickle
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import Dataset

from uniformer_mm.compat import checkpoint_weights_only
from uniformer_mm.compat.checkpoint_weights_only import history_statistic

pytestmark = pytest.mark.skipif(
    torch.torch_version.TorchVersion(torch.__version__) < "2.6",
    reason="torch loads everything by default",
)


@pytest.fixture
def unrepaired() -> Iterator[None]:
    """Torch without any allow-listed class."""
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    yield
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(before)


class Numbers(Dataset):
    """Four fixed vectors; its metainfo is saved in the checkpoint, as mmpose's is."""

    metainfo: ClassVar = {"sigmas": np.array([0.25, 0.5], dtype=np.float32), "names": ("a", "b")}

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"inputs": torch.full((3,), float(index + 1))}


class Line(BaseModel):
    """The smallest model that a Runner trains."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def forward(self, inputs: Any, mode: str = "tensor") -> dict[str, Tensor]:
        return {"loss": self.linear(torch.stack(inputs)).square().mean()}


def build_runner(work_dir: Path, iterations: int, **settings: Any) -> Runner:
    """A Runner with AdamW, a schedule, EMA and losses logged through the message hub."""
    torch.manual_seed(0)
    return Runner(
        model=Line(),
        work_dir=str(work_dir),
        train_dataloader={
            "dataset": Numbers(),
            "batch_size": 2,
            "sampler": {"type": "InfiniteSampler", "shuffle": False},
        },
        train_cfg={"by_epoch": False, "max_iters": iterations},
        optim_wrapper={"optimizer": {"type": "AdamW", "lr": 0.1}},
        # The end must be given: mmengine's default, max_iters, is saved and restored.
        param_scheduler={"type": "CosineAnnealingLR", "T_max": 4, "end": 4, "by_epoch": False},
        custom_hooks=[{"type": "EMAHook", "momentum": 0.1}],
        default_hooks={"checkpoint": {"type": "CheckpointHook", "interval": 2, "by_epoch": False}},
        experiment_name=str(work_dir),
        log_level="ERROR",
        **settings,
    )


def test_checkpoint_of_a_runner_loads_and_resumes(tmp_path: Path, unrepaired: None) -> None:
    trained = build_runner(tmp_path / "first", 2)
    trained.train()
    file = tmp_path / "first" / "iter_2.pth"
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        torch.load(file)

    checkpoint_weights_only.apply()
    checkpoint = torch.load(file)
    saved = checkpoint["message_hub"]["log_scalars"]["train/loss"]
    history = trained.message_hub.get_scalar("train/loss")
    assert isinstance(saved, HistoryBuffer)
    assert saved.data[0].tolist() == history.data[0].tolist()
    assert saved.statistics("mean") == history.mean()
    assert checkpoint["meta"]["dataset_meta"]["sigmas"].tolist() == [0.25, 0.5]

    resumed = build_runner(tmp_path / "resumed", 4, load_from=str(file), resume=True)
    resumed.train()
    straight = build_runner(tmp_path / "straight", 4)
    straight.train()
    losses = [r.message_hub.get_scalar("train/loss").data[0] for r in (resumed, straight)]
    assert losses[0].tolist() == losses[1].tolist()
    assert len(losses[0]) == 4
    finals = [torch.load(tmp_path / name / "iter_4.pth") for name in ("resumed", "straight")]
    for part in ("state_dict", "ema_state_dict"):
        for name, weight in finals[0][part].items():
            assert torch.equal(weight, finals[1][part][name]), (part, name)


def checkpoint_with(content: object) -> io.BytesIO:
    """A checkpoint file in memory."""
    file = io.BytesIO()
    torch.save(content, file)
    file.seek(0)
    return file


NUMPY_CONTENTS = [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.array([True, False]),
    np.array([1, 2], dtype=np.uint8),
    np.array([1.5], dtype=np.float16),
    np.empty((0, 3), dtype=np.int16),  # as the colours of a skeleton without links
    np.float64(0.25),
    np.float32(0.25),
    np.int64(7),
]


@pytest.mark.parametrize("content", NUMPY_CONTENTS, ids=lambda content: str(content.dtype))
@pytest.mark.parametrize("spelling", ["numpy.core", "numpy._core"])
def test_numpy_values_load_in_both_spellings(content: Any, spelling: str, unrepaired: None) -> None:
    checkpoint_weights_only.apply()
    file = respell(checkpoint_with({"value": content}), spelling)
    loaded = torch.load(file)["value"]
    assert type(loaded) is type(content)
    assert loaded.dtype == content.dtype
    assert np.array_equal(loaded, content)


def respell(file: io.BytesIO, spelling: str) -> io.BytesIO:
    """Return the checkpoint as the numpy whose modules are in `spelling` writes it."""
    result = io.BytesIO()
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(result, "w", zipfile.ZIP_STORED) as new:
        for info in old.infolist():
            content = old.read(info)
            if info.filename.endswith("data.pkl"):
                # GLOBAL opcodes hold the name as a line of text, so its length is free.
                content, count = re.subn(
                    rb"cnumpy\.(_?core)\.multiarray\n",
                    f"c{spelling}.multiarray\n".encode(),
                    content,
                )
                assert count == 1
            new.writestr(info, content)
    result.seek(0)
    return result


class Runs:
    """Calls a function when it is unpickled, as a hostile checkpoint would."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (os, "system"),
        (HistoryBuffer, "__init__"),
        (HistoryBuffer, "__subclasses__"),
        (HistoryBuffer, "register_statistics"),
        (HistoryBuffer(), "mean"),
        (np.ndarray, "tofile"),
    ],
)
def test_getattr_yields_nothing_but_history_statistics(owner: Any, name: str) -> None:
    with pytest.raises(pickle.UnpicklingError, match=f"'{name}'.*refused"):
        history_statistic(owner, name)


@pytest.mark.parametrize(
    "attack",
    [
        Runs(eval, "open('ran', 'w')"),
        Runs(os.system, "touch ran"),
        Runs(getattr, Runs(__import__, "os"), "system"),
        Runs(getattr, HistoryBuffer, "__subclasses__"),
        Runs(getattr, np.ndarray, "tofile"),
        Runs(HistoryBuffer.mean, "called while loading"),
    ],
    ids=["eval", "os.system", "getattr os.system", "subclasses", "tofile", "statistic"],
)
def test_code_in_a_checkpoint_does_not_run(
    attack: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint_weights_only.apply()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pickle.UnpicklingError, match=r"refused|allowed|unrecognized|blocked"):
        torch.load(checkpoint_with({"meta": attack}))
    assert list(tmp_path.iterdir()) == []


def test_the_attack_runs_without_the_protection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.load(checkpoint_with({"meta": Runs(eval, "open('ran', 'w')")}), weights_only=False)
    assert (tmp_path / "ran").exists()


def test_loaded_statistics_are_the_real_ones() -> None:
    for name in ("min", "max", "current", "mean"):
        assert history_statistic(HistoryBuffer, name) is getattr(HistoryBuffer, name)


def test_protection_stays_on(monkeypatch: pytest.MonkeyPatch) -> None:
    environment, load = dict(os.environ), torch.load
    checkpoint_weights_only.apply()
    assert os.environ == environment
    assert torch.load is load
    with pytest.raises(pickle.UnpicklingError, match="Unsupported global"):
        torch.load(checkpoint_with(Path("not allow-listed")))


def test_older_torch_is_left_alone(monkeypatch: pytest.MonkeyPatch, unrepaired: None) -> None:
    monkeypatch.setattr(torch, "__version__", "2.5.1+cu121")
    checkpoint_weights_only.apply()
    assert torch.serialization.get_safe_globals() == []
