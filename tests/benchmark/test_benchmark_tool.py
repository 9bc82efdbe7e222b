"""The benchmark measures what it says, and never numbers of models that disagree."""

import csv
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
from running import ROOT, run_inside

from uniformer_mm.benchmark.ceiling import Ceiling, count_flops
from uniformer_mm.benchmark.peers import load_peer
from uniformer_mm.benchmark.report import fill_page
from uniformer_mm.benchmark.stages import stage_costs
from uniformer_mm.benchmark.timing import Timing, interleave, peak_memory
from uniformer_mm.benchmark.variants import build_backbone, make_variant
from uniformer_mm.errors import UserError
from uniformer_mm.models import UniFormer, UniFormerLight
from uniformer_mm.models.fuse import fuse

CPU = torch.device("cpu")
TINY = ["arch.depths=[1,1,1,1]", "arch.embed_dims=[16,32,64,64]", "arch.head_dim=32"]
PEER = textwrap.dedent(
    """
    from timm.models.layers import DropPath, to_2tuple, trunc_normal_
    from mmcv_custom import load_checkpoint
    from mmdet.utils import get_root_logger
    from ..builder import BACKBONES
    from uniformer_mm.models import UniFormer as Ours

    assert to_2tuple(3) == (3, 3)

    @BACKBONES.register_module()
    class UniFormer(Ours):
        def __init__(self, layers, embed_dim, head_dim, mlp_ratio, windows=False, hybrid=False,
                     window_size=14):
            super().__init__(
                dict(depths=layers, embed_dims=embed_dim, head_dim=head_dim, mlp_ratio=mlp_ratio),
                attention="window" if windows else "hybrid" if hybrid else "global",
                window_size=window_size,
            )
            get_root_logger().info("built")
    """
)


@pytest.fixture
def peer(tmp_path):
    """A file in the style of the official code."""
    path = tmp_path / "peer.py"
    path.write_text(PEER)
    return path


def test_functions_take_turns_and_ratios_are_per_round():
    calls = []
    timings = interleave(
        {name: (lambda name=name: calls.append(name)) for name in "ab"}, CPU, rounds=3, warmup=1
    )
    assert calls == [*"ab", *"ab", *"ababab"]
    assert len(timings["a"].seconds) == 3
    fast, slow = Timing((1.0, 2.0, 4.0), 1), Timing((2.0, 6.0, 8.0), 1)
    assert fast.times_faster_than(slow) == (2.0, 2.0, 2.5)
    assert slow.median == 6.0


def test_peak_memory_counts_what_is_alive_at_once():
    x = torch.ones(256, 1024)
    assert peak_memory(lambda: x + 1, CPU) == pytest.approx(2**20, rel=1e-3)
    assert peak_memory(lambda: (x + 1) + (x + 2), CPU) == pytest.approx(3 * 2**20, rel=1e-3)
    assert peak_memory(lambda: [(x + 1).sum() for _ in range(3)], CPU) < 1.1 * 2**20


def test_products_are_counted():
    a = torch.ones(3, 5)
    assert count_flops(lambda: a @ a.T) == 2 * 3 * 5 * 3


@pytest.mark.parametrize("attention", ["global", "window", "hybrid"])
def test_a_peer_gets_our_weights_and_what_it_imports_is_stood_in_for(peer, attention):
    before = {name: id(module) for name, module in sys.modules.items()}
    arch = {"depths": (1, 1, 4, 1), "embed_dims": (16, 32, 64, 64), "head_dim": 32}
    model = UniFormer(arch, attention=attention, window_size=3).eval()
    theirs = load_peer(str(peer), model)
    x = torch.randn(1, 3, 70, 96)
    with torch.no_grad():
        for a, b in zip(theirs(x), model(x), strict=True):
            assert torch.equal(a, b)
    after = {name: id(module) for name, module in sys.modules.items()}
    assert {name: after.get(name) for name in before} == before
    assert not [name for name in set(after) - set(before) if name.startswith(("timm", "mmcv_c"))]


def test_a_peer_that_is_not_there_or_not_the_same_is_refused(peer, tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load_peer(str(tmp_path / "nothing.py"), UniFormer())
    with pytest.raises(UserError, match="not of light models"):
        load_peer("mmaction2", UniFormerLight())
    with pytest.raises(UserError, match="not the architecture"):
        load_peer(str(peer), UniFormer(layer_scale="all"))


def test_comparison_writes_table_and_picture(peer, tmp_path, capsys):
    table, picture = tmp_path / "c.csv", tmp_path / "c.png"
    arguments = ["--size", 64, 64, "--rounds", 2, "--threads", 2, "--csv", table, "--plot", picture]
    backbone = ["--backbone", *TINY, "attention=window"]
    assert not run_inside("benchmark.py", "compare", *backbone, "--peer", peer, *arguments)
    assert picture.stat().st_size > 5000
    rows = list(csv.DictReader(table.open()))
    assert [row["variant"] for row in rows] == ["peer", "eager", "fused"]
    assert rows[0]["times faster than peer"].startswith("1.00")
    assert "benchmark.py compare --backbone" in rows[0]["command"]
    assert "GFLOP" in capsys.readouterr().out

    page = tmp_path / "page.md"
    page.write_text("# Speed\n\n<!-- csv: c.csv -->\nold\n<!-- end -->\nafter\n")
    fill_page(page)
    assert "| fused |" in page.read_text()
    assert "old" not in page.read_text()
    assert page.read_text().endswith("<!-- end -->\nafter\n")


def test_models_that_disagree_are_not_measured(peer, capsys):
    peer.write_text(PEER + "    def forward(self, x):\n        return super().forward(x * 1.1)\n")
    arguments = ["--backbone", *TINY, "--size", 64, 64, "--rounds", 1]
    assert run_inside("benchmark.py", "compare", *arguments, "--peer", peer) == 2
    assert "do not agree" in capsys.readouterr().err


def test_training_and_scaling_run(tmp_path, capsys):
    short = ["--rounds", 1, "--threads", 2]
    train = ["--step", "train", "--size", 64, 64]
    variants = ["--variants", "eager", "keeping", "--csv", tmp_path / "t.csv"]
    assert not run_inside("benchmark.py", "compare", "--backbone", *TINY, *train, *short, *variants)
    rows = list(csv.DictReader((tmp_path / "t.csv").open()))
    assert [row["variant"] for row in rows] == ["eager", "keeping"]
    assert int(rows[1]["memory of eager"].rstrip("%")) > 100
    arguments = ["--attention", "window", "--sizes", 64, 96, "--plot", tmp_path / "s.png"]
    assert not run_inside("benchmark.py", "scaling", "--backbone", *TINY, *arguments, *short)
    assert (tmp_path / "s.png").exists()


@pytest.mark.parametrize("fused", [False, True])
def test_all_arithmetic_is_found_in_some_stage(fused):
    arch = {"depths": (1, 1, 4, 1), "embed_dims": (16, 32, 64, 64), "head_dim": 32}
    model = UniFormer(arch, attention="hybrid", window_size=3).eval()
    plain = make_variant("plain", model)
    model = fuse(model) if fused else model
    x = torch.randn(1, 3, 96, 80)
    with torch.no_grad():
        costs = stage_costs(model, lambda: model(x), Ceiling(1e9, 1e12), CPU, rounds=3)
        assert sum(cost.flops for cost in costs.values()) == count_flops(lambda: plain(x))
    assert list(costs) == ["stage 1", "stage 2", "stage 3", "stage 4"]
    for cost in costs.values():
        assert len(cost.seconds) == 3
        assert min(cost.seconds) > 0
        assert cost.floor >= max(cost.flops / 1e9, cost.bytes / 1e12)
    # Stage 4 of one block: what it reads is more than its weights, and at most all activations.
    weights = sum(p.nbytes for p in model.blocks4.parameters())
    assert weights < costs["stage 4"].bytes < 3 * weights


def test_the_backbone_is_ours_in_any_scope():
    with DefaultScope.overwrite_default_scope("mmaction"):
        for settings in ({}, {"type": "UniFormer"}, {"type": "mmengine.UniFormer"}):
            assert type(build_backbone(settings, CPU)) is UniFormer


def test_stages_are_listed_and_compiled_models_refused(tmp_path, capsys):
    arguments = ["--backbone", *TINY, "--size", 64, 64, "--rounds", 1, "--threads", 2]
    assert not run_inside("benchmark.py", "stages", *arguments, "--csv", tmp_path / "s.csv")
    rows = list(csv.DictReader((tmp_path / "s.csv").open()))
    assert [row["stage"] for row in rows] == ["stage 1", "stage 2", "stage 3", "stage 4"]
    assert "copies at" in capsys.readouterr().out
    assert run_inside("benchmark.py", "stages", *arguments, "--variant", "compiled") == 2
    assert "a compiled model has no stages; use eager" in capsys.readouterr().err


def test_parts_of_a_training_iteration(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config, other = (
        ROOT / "configs" / name
        for name in ("cls/uniformer_s_in1k.py", "pose/td_hm_uniformer_s_256x192.py")
    )
    options = ["train_dataloader.batch_size=2"]
    arguments = ["--synthetic", 8, "--iterations", 2, "--also", other, "--csv", "parts.csv"]
    command = ["iteration", config, *arguments, "--cfg-options", *options]
    assert not run_inside("benchmark.py", *command)
    rows = list(csv.DictReader((tmp_path / "parts.csv").open()))
    assert [row["config"] for row in rows] == [config.stem, other.stem]
    for row in rows:
        parts = [row[f"{part} ms"] for part in ("data", "forward", "backward", "optimizer")]
        assert sum(int(part.split()[0]) for part in parts) == pytest.approx(
            int(row["sum ms"]), abs=3
        )
        assert row["batch"] == "2"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--variants", "quick"], "none of eager"),
        (["--variants", "fused", "--step", "train"], "for inference"),
        (["--backbone", "arch=huge"], "no backbone can be built"),
        (["--device", "cuda"], "no GPU"),
    ],
)
def test_mistakes_are_explained(arguments, message, capsys):
    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert run_inside("benchmark.py", "compare", "--size", 64, 64, *arguments) == 2
    assert message in capsys.readouterr().err
