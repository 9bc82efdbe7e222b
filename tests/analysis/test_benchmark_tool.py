"""tools/benchmark.py measures what it says, and never models whose outputs disagree."""

import csv
import re
import sys
import textwrap
from types import SimpleNamespace

import pytest
import torch
from mmengine.registry import DefaultScope
from running import ROOT, run_inside

from uniformer_mm.analysis import timing
from uniformer_mm.analysis.references import load_reference
from uniformer_mm.analysis.report import update_page
from uniformer_mm.analysis.stages import stage_costs
from uniformer_mm.analysis.timing import Ceiling, Timing, count_flops, interleave, peak_memory
from uniformer_mm.analysis.variants import build_backbone, make_variant
from uniformer_mm.errors import UserError
from uniformer_mm.models import UniFormer, UniFormerLight
from uniformer_mm.models.fuse import fuse
from uniformer_mm.torch_internals import saved_tensors_hooks_are_active

CPU = torch.device("cpu")
ARCH = {"depths": (1, 1, 4, 1), "embed_dims": (16, 32, 64, 64), "head_dim": 32}
TINY = ["--backbone", "arch.depths=[1,1,1,1]", "arch.embed_dims=[16,32,64,64]", "arch.head_dim=32"]
SHORT = ["--size", 64, 64, "--rounds", 2, "--threads", 2]
REFERENCE = textwrap.dedent(
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


@pytest.fixture(autouse=True)
def small_products(monkeypatch):
    """The ceiling is measured with small matrices, in less time."""
    monkeypatch.setattr(timing, "SIDES", {"cpu": (64, 128)})
    monkeypatch.setattr(timing, "COPIED_BYTES", 2**20)


@pytest.fixture
def reference(tmp_path):
    """A file in the style of the official code."""
    path = tmp_path / "reference.py"
    path.write_text(REFERENCE)
    return path


def read_rows(path):
    return list(csv.DictReader(path.open()))


def test_functions_take_turns_and_ratios_are_per_round():
    calls = []
    functions = {name: (lambda name=name: calls.append(name)) for name in "ab"}
    timings = interleave(functions, CPU, rounds=3, warmup=1)
    assert calls == [*"ab", *"ab", *"ababab"]
    assert len(timings["a"].seconds) == 3
    fast, slow = Timing((1.0, 2.0, 4.0), 1), Timing((2.0, 6.0, 8.0), 1)
    assert fast.speedup(slow) == (2.0, 2.0, 2.5)
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
def test_a_reference_gets_our_weights_and_stand_ins_for_its_imports(reference, attention):
    before = {name: id(module) for name, module in sys.modules.items()}
    model = UniFormer(ARCH, attention=attention, window_size=3).eval()
    theirs = load_reference(str(reference), model)
    x = torch.randn(1, 3, 70, 96)
    with torch.no_grad():
        for a, b in zip(theirs(x), model(x), strict=True):
            assert torch.equal(a, b)
    after = {name: id(module) for name, module in sys.modules.items()}
    assert {name: after.get(name) for name in before} == before
    assert not [name for name in set(after) - set(before) if name.startswith(("timm", "mmcv_c"))]


def test_a_reference_that_is_missing_or_different_is_refused(reference, tmp_path):
    with pytest.raises(UserError, match=r"nothing\.py"):
        load_reference(str(tmp_path / "nothing.py"), UniFormer())
    with pytest.raises(UserError, match="mmaction2"):
        load_reference("mmaction2", UniFormerLight())
    with pytest.raises(UserError, match=r"reference\.py .*gamma"):
        load_reference(str(reference), UniFormer(layer_scale="all"))


def test_comparison_writes_table_and_plot(reference, tmp_path, capsys):
    table, plot = tmp_path / "c.csv", tmp_path / "c.png"
    outputs = ["--csv", table, "--plot", plot]
    command = ["compare", *TINY, "attention=window", "--peer", reference, *SHORT, *outputs]
    assert not run_inside("benchmark.py", *command)
    assert plot.stat().st_size > 5000
    rows = read_rows(table)
    assert [row["variant"] for row in rows] == ["reference", "eager", "fused"]
    assert rows[0]["times faster than reference"].startswith("1.00")
    assert "benchmark.py compare --backbone" in rows[0]["command"]
    assert "GFLOP" in capsys.readouterr().out

    page = tmp_path / "page.md"
    page.write_text("# Speed\n\n<!-- csv: c.csv -->\nold\n<!-- end -->\nafter\n")
    update_page(page)
    assert "| fused |" in page.read_text()
    assert "old" not in page.read_text()
    assert page.read_text().endswith("<!-- end -->\nafter\n")


def test_models_that_disagree_are_not_measured(reference, capsys):
    forward = "    def forward(self, x):\n        return super().forward(x * 1.1)\n"
    reference.write_text(REFERENCE + forward)
    assert run_inside("benchmark.py", "compare", *TINY, *SHORT, "--peer", reference) == 2
    assert "eager and reference" in capsys.readouterr().err


def test_training_and_scaling_run(tmp_path):
    variants = ["--variants", "eager", "keeping", "--csv", tmp_path / "t.csv"]
    assert not run_inside("benchmark.py", "compare", *TINY, "--step", "train", *SHORT, *variants)
    rows = read_rows(tmp_path / "t.csv")
    assert [row["variant"] for row in rows] == ["eager", "keeping"]
    more = int(rows[1]["memory of eager"].rstrip("%")) > 100
    assert more is not saved_tensors_hooks_are_active()  # torch < 2.8 recomputes nothing
    sizes = ["--attention", "window", "--sizes", 64, 96, "--rounds", 1]
    assert not run_inside("benchmark.py", "scaling", *TINY, *sizes, "--plot", tmp_path / "s.png")
    assert (tmp_path / "s.png").stat().st_size > 5000


def test_models_of_timm_run_in_turns_with_ours(tmp_path, monkeypatch, capsys):
    def create_model(name, *, features_only, **size):
        if size:
            raise TypeError("img_size")
        return torch.nn.Conv2d(3, 4, 3)

    timm = SimpleNamespace(
        __version__="1", list_models=lambda: ["convnext_tiny"], create_model=create_model
    )
    monkeypatch.setitem(sys.modules, "timm", timm)
    command = ["compare", *TINY, *SHORT, "--variants", "eager", "--peer"]
    assert not run_inside(
        "benchmark.py", *command, "timm:convnext_tiny", "--csv", tmp_path / "t.csv"
    )
    ours, theirs = read_rows(tmp_path / "t.csv")
    assert (ours["variant"], theirs["variant"]) == ("eager", "convnext_tiny")
    assert float(theirs["median ms"]) > 0
    assert (float(ours["times the GEMM bound"]) > 0, theirs["times the GEMM bound"]) == (True, "")
    assert run_inside("benchmark.py", *command, "timm:nothing") == 2
    assert "timm:nothing" in capsys.readouterr().err


def test_operators_of_a_step_are_listed(tmp_path, capsys):
    command = ["operators", *TINY, *SHORT, "--step", "train", "--csv", tmp_path / "o.csv"]
    assert not run_inside("benchmark.py", *command)
    rows = {row["operator"]: row for row in read_rows(tmp_path / "o.csv")}
    assert int(rows["aten::addmm"]["calls"]) > 4
    times = [float(row["ms"]) for row in rows.values()]
    assert times == sorted(times, reverse=True)
    total = float(re.search(r"operators take ([\d.]+) ms", capsys.readouterr().out)[1])
    assert 0.5 * total < sum(times) <= 1.01 * total


def test_a_suite_goes_on_after_a_step_that_fails_and_keeps_all_tables(tmp_path, capsys):
    steps = ["--dry-run", "--steps", "train_video_s_graph", "infer_xxs"]
    command = ["suite", "--device", "cpu", "--out", tmp_path]
    assert run_inside("benchmark.py", *command, *steps) == 2
    captured = capsys.readouterr()
    assert "train_video_s_graph" in captured.err
    assert "needs a GPU" in (tmp_path / "train_video_s_graph.txt").read_text()
    rows = read_rows(tmp_path / "infer_xxs.csv")
    assert [row["variant"] for row in rows][:2] == ["eager", "eager-cudnn"]
    assert "compare --size 800 1280" in rows[0]["command"]
    assert "fused-cast" in (tmp_path / "infer_xxs.txt").read_text()
    assert not run_inside("benchmark.py", *command, "--budget", 0)
    assert "no time left" in capsys.readouterr().out


@pytest.mark.parametrize("fused", [False, True])
def test_all_arithmetic_is_found_in_some_stage(fused):
    model = UniFormer(ARCH, attention="hybrid", window_size=3).eval()
    plain = make_variant("plain", model)
    model = fuse(model) if fused else model
    x = torch.randn(1, 3, 96, 80)
    with torch.no_grad():
        costs = stage_costs(model, lambda: model(x), Ceiling(1e9, 1e12), rounds=3)
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
    command = ["benchmark.py", "stages", *TINY, *SHORT]
    assert not run_inside(*command, "--csv", tmp_path / "s.csv")
    rows = read_rows(tmp_path / "s.csv")
    assert [row["stage"] for row in rows] == ["stage 1", "stage 2", "stage 3", "stage 4"]
    assert run_inside(*command, "--variant", "compiled") == 2
    assert "--variant compiled" in capsys.readouterr().err


@pytest.mark.stack
def test_parts_of_a_training_iteration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config, other = (
        ROOT / "configs" / name
        for name in ("cls/uniformer_s_in1k.py", "pose/td_hm_uniformer_s_256x192.py")
    )
    arguments = ["--synthetic", 8, "--iterations", 2, "--also", other, "--csv", "parts.csv"]
    command = ["iteration", config, *arguments, "--cfg-options", "train_dataloader.batch_size=2"]
    assert not run_inside("benchmark.py", *command)
    rows = read_rows(tmp_path / "parts.csv")
    assert [row["config"] for row in rows] == [config.stem, other.stem]
    for row in rows:
        parts = [row[f"{part} ms"] for part in ("data", "forward", "backward", "optimizer")]
        total = sum(int(part.split()[0]) for part in parts)
        assert total == pytest.approx(int(row["sum ms"]), abs=3)
        assert row["batch"] == "2"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--variants", "quick"], "'quick'"),
        (["--variants", "fused", "--step", "train"], "--variants fused"),
        (["--backbone", "arch=huge"], "huge"),
        (["--device", "cuda"], "--device cuda"),
    ],
)
def test_mistakes_are_explained(arguments, message, capsys):
    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert run_inside("benchmark.py", "compare", "--size", 64, 64, *arguments) == 2
    assert message in capsys.readouterr().err
