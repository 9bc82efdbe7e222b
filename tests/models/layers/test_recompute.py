"""Recomputed activations equal the stored ones, and are not stored between forward and backward."""

import contextlib
import copy
import gc
import multiprocessing
import os
import re
import threading
import weakref

import pytest
import torch
from torch import distributed, nn
from torch._subclasses import FakeTensorMode
from torch.distributed.nn.functional import all_reduce
from torch.multiprocessing.reductions import StorageWeakRef

from uniformer_mm.analysis.timing import peak_memory
from uniformer_mm.models import UniFormer, UniFormerLight
from uniformer_mm.models.layers.recompute import (
    GELU,
    BatchNorm2d,
    LayerNorm,
    recompute_activations,
)
from uniformer_mm.torch_internals import saved_tensors_hooks_are_active

recomputes = pytest.mark.skipif(
    saved_tensors_hooks_are_active(), reason="this torch (< 2.8) recomputes nothing"
)
TINY = {"depths": (1, 1, 4, 1), "embed_dims": (16, 32, 64, 64), "head_dim": 32}
MODELS = {
    "hybrid": (UniFormer, {"attention": "hybrid", "window_size": 3}),
    "layer scale, plus": (
        UniFormer,
        {"arch": {**TINY, "stem": "conv", "downsample": "conv", "layer_scale": "all"}},
    ),
    "frozen statistics": (UniFormer, {"norm_eval": True}),
    "dropout": (UniFormer, {"drop_rate": 0.1, "attn_drop_rate": 0.1, "drop_path_rate": 0.2}),
    "divided video": (UniFormer, {"dims": 3, "split": True}),
    "light": (UniFormerLight, {}),
}


def recomputed(layer, x, *steps):
    """Apply steps and then a layer, inside the context."""
    with recompute_activations(x):
        for step in steps:
            x = step(x)
        return layer(x)


@pytest.fixture
def store_everything(monkeypatch):
    """Return a function after whose call models store all activations."""

    def store():
        monkeypatch.setattr(UniFormer, "recompute", False)

    return store


def trained(name, dtype=torch.float32):
    """Gradients and statistics of a model after one backward pass."""
    kind, options = MODELS[name]
    torch.manual_seed(0)
    model = kind(**{"arch": TINY, **options}).train()
    frames = (4,) if model.dims == 3 else ()
    images = torch.randn(2, 3, *frames, 96, 70)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        outputs = model(images)
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else outputs
    sum(output.float().square().mean() for output in outputs).backward()
    return {**{k: v.grad for k, v in model.named_parameters()}, **dict(model.named_buffers())}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_gradients_and_statistics_are_those_of_storing_everything(store_everything, name, dtype):
    if "video" in name and dtype == torch.bfloat16:
        pytest.skip("torch's bf16 depthwise 3-D convolution on CPUs now and then gives NaN")
    ours = trained(name, dtype)
    store_everything()
    for key, expected in trained(name, dtype).items():
        torch.testing.assert_close(ours[key], expected, rtol=1e-4, atol=1e-6, msg=key)


def memory_of_training(**options):
    """Return the peak of bytes without weights and their gradients."""
    torch.manual_seed(0)
    model = UniFormer(TINY, **options).train()
    images = torch.randn(1, 3, 224, 224)

    def step():
        sum(output.square().mean() for output in model(images)).backward()

    step()
    return peak_memory(step, torch.device("cpu"))


@recomputes
def test_a_third_of_the_memory_of_training_is_saved(store_everything):
    options = {"attention": "hybrid", "window_size": 3}
    ours = memory_of_training(**options)
    store_everything()
    kept = memory_of_training(**options)
    assert ours < 0.75 * kept, (ours, kept)


def stored_outputs(**options):
    """Return which modules inside of blocks have an output that the graph keeps alive."""
    torch.manual_seed(0)
    model = UniFormer(TINY, **options).train()
    storages = {}

    def hook(name):
        def note(module, inputs, output):
            storages[name] = StorageWeakRef(output.untyped_storage())

        return note

    for name, module in model.named_modules():
        if re.match(r"blocks\d\.\d+\.", name):
            module.register_forward_hook(hook(name))
    outputs = model(torch.randn(1, 3, 64, 64))
    kept = {name for name, storage in storages.items() if not storage.expired()}
    assert storages
    assert len(outputs) == 4, "they keep the graph alive until here"
    return kept


@recomputes
def test_outputs_of_norms_and_gelu_are_not_stored():
    kept = {name.split(".", 2)[2] for name in stored_outputs()}
    assert {"conv1", "attn", "mlp.fc1"} <= kept
    assert kept.isdisjoint({"norm1", "norm2", "mlp.act"})


def test_checkpointed_blocks_store_their_input_only():
    assert stored_outputs(with_cp=True) == set()
    assert {name.split(".")[0] for name in stored_outputs(with_cp=(0, 1, 4, 0))} == {
        "blocks1",
        "blocks4",
    }


def test_transforms_of_functions_work():
    layer, norm = nn.Linear(4, 4), LayerNorm(4)
    x = torch.randn(3, 4)
    gradient = torch.func.grad(lambda x: recomputed(layer, x, norm).square().sum())(x)
    x.requires_grad_()
    recomputed(layer, x, norm).square().sum().backward()
    torch.testing.assert_close(gradient, x.grad)


@recomputes
def test_weights_changed_before_the_backward_pass_are_an_error():
    layer, norm = nn.Linear(4, 4), LayerNorm(4)
    x = torch.randn(3, 4, requires_grad=True)
    out = recomputed(layer, x, norm)
    with torch.no_grad():
        layer.weight.add_(1)
    with pytest.raises(RuntimeError, match=r"shape \(4, 4\) .* was changed in place"):
        out.sum().backward()


@recomputes
@pytest.mark.parametrize("changed", ["x", "bias"])
def test_what_is_recomputed_from_must_not_change_before_the_backward_pass(changed):
    """PyTorch itself would not see it: a norm's bias is not in its gradient, nor a frozen input."""
    layer, norm = nn.Linear(4, 4), LayerNorm(4).requires_grad_(False)
    x = torch.randn(3, 4)
    norm.bias.requires_grad_()
    out = recomputed(layer, x, norm)
    with torch.no_grad():
        {"x": x, "bias": norm.bias}[changed].add_(1)
    with pytest.raises(RuntimeError, match="was changed in place"):
        out.sum().backward()


class SyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """PyTorch's has no CPU version: the same statistics, of two processes or with a stand-in."""

    stand_in = None

    def forward(self, x):
        axes = [0, *range(2, x.dim())]
        sums = torch.stack([x.sum(axes), x.square().sum(axes)])
        count = 2 * x.numel() / x.shape[1]
        other = self.stand_in
        mean, square = (all_reduce(sums) if other is None else sums + other) / count
        shape = (1, -1, *[1] * (x.dim() - 2))
        x = (x - mean.view(shape)) / (square - mean.square() + self.eps).sqrt().view(shape)
        return x * self.weight.view(shape) + self.bias.view(shape)


def use_sync_batch_norm(model):
    """As mmengine's `sync_bn="torch"`, then with a `forward` that runs here."""
    model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for module in model.modules():
        if type(module) is nn.SyncBatchNorm:
            module.__class__ = SyncBatchNorm
    return model


def gradients(model, x):
    model.zero_grad()
    outputs = model(x)
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else outputs
    sum(output.float().square().mean() for output in outputs).backward()
    return {name: weights.grad.clone() for name, weights in model.named_parameters()}


@pytest.mark.parametrize("dims", [2, 3])
def test_a_norm_with_statistics_of_other_processes_is_not_repeated(
    monkeypatch, store_everything, dims
):
    torch.manual_seed(0)
    model = use_sync_batch_norm(UniFormer(TINY, dims=dims)).train()
    sums = torch.tensor([[300.0], [9000.0]])
    monkeypatch.setattr(SyncBatchNorm, "stand_in", sums)
    x = torch.randn(2, 3, *[4] * (dims - 2), 64, 64)
    ours = gradients(model, x)
    store_everything()
    for name, expected in gradients(model, x).items():
        torch.testing.assert_close(ours[name], expected, msg=name)


def sync_batch_norm_process(rank, folder, model, x):
    torch.set_num_threads(1)
    store = distributed.FileStore(str(folder / "store"), 2)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    wrapper = nn.parallel.DistributedDataParallel(use_sync_batch_norm(model))
    found = gradients(wrapper, x[rank : rank + 1])
    torch.save(
        {name.removeprefix("module."): value for name, value in found.items()},
        folder / f"{rank}.pth",
    )
    distributed.barrier()
    os._exit(0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA does not survive a fork")
def test_two_processes_with_synchronized_norms_train_as_one(tmp_path):
    torch.manual_seed(0)
    model, x = UniFormer(TINY).double().train(), torch.randn(2, 3, 64, 64).double()
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=sync_batch_norm_process, args=(rank, tmp_path, model, x))
        for rank in (0, 1)
    ]
    for one in processes:
        one.start()
    for one in processes:
        one.join(120)
    assert [one.exitcode for one in processes] == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pth") for rank in (0, 1))
    for name, expected in gradients(model, x).items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], expected, msg=name)


@pytest.mark.parametrize("step", [BatchNorm2d(4), GELU(), LayerNorm(5)], ids=repr)
@pytest.mark.parametrize("kind", ["subclass", "forward", "hook", "pre-hook", "all modules' hook"])
def test_whoever_alters_a_step_is_called_once_and_gets_the_gradients_of_it(step, kind):
    step = copy.deepcopy(step)
    calls = []

    def altered(output):
        calls.append(output)
        return output * 2

    plain = type(step).forward
    if kind == "subclass":
        name = type(step).__name__
        forward = {"forward": lambda self, x: altered(plain(self, x))}
        step.__class__ = type(name, (type(step),), forward)
    elif kind == "forward":
        step.forward = lambda x: altered(plain(step, x))
    elif kind == "hook":
        step.register_forward_hook(lambda module, inputs, output: altered(output))
    elif kind == "pre-hook":
        step.register_forward_pre_hook(lambda module, inputs: altered(inputs[0]))
    layer, x = nn.Conv2d(4, 4, 1), torch.randn(2, 4, 3, 5, requires_grad=True)
    if kind == "all modules' hook":
        handle = nn.modules.module.register_module_forward_hook(
            lambda module, inputs, output: altered(output) if module is step else None
        )
    try:
        recomputed(layer, x, step).square().sum().backward()
        assert len(calls) == 1
        ours, layer.weight.grad = layer.weight.grad, None
        layer(step(x)).square().sum().backward()
    finally:
        if kind == "all modules' hook":
            handle.remove()
    torch.testing.assert_close(ours, layer.weight.grad)


def test_forward_hooks_of_a_model_are_called_once(store_everything):
    torch.manual_seed(0)
    model, x = UniFormer(TINY, attention="hybrid", window_size=3).train(), torch.randn(1, 3, 64, 64)
    calls = []
    for name, module in model.named_modules():
        module.register_forward_hook(lambda module, inputs, output, name=name: calls.append(name))
    model(x)
    forward = sorted(calls)
    del calls[:]
    ours = gradients(model, x)
    assert sorted(calls) == forward
    store_everything()
    for name, expected in gradients(model, x).items():
        torch.testing.assert_close(ours[name], expected, msg=name)


def test_a_hook_that_changes_the_input_of_a_layer_in_place():
    layer, norm, x = nn.Linear(4, 4), LayerNorm(4), torch.randn(3, 4, requires_grad=True)
    layer.register_forward_pre_hook(lambda module, inputs: (inputs[0].mul_(2),))
    recomputed(layer, x, norm.requires_grad_(False)).square().sum().backward()
    ours, layer.weight.grad = layer.weight.grad, None
    layer(norm(x)).square().sum().backward()
    torch.testing.assert_close(ours, layer.weight.grad)


def test_the_mode_is_that_of_the_forward_pass():
    layer, norm, x = nn.Conv2d(4, 4, 1), BatchNorm2d(4), torch.randn(2, 4, 3, 3)
    out = recomputed(layer, x, norm)
    norm.eval()
    out.square().sum().backward()
    ours, layer.weight.grad = layer.weight.grad, None
    layer(norm.train()(x)).square().sum().backward()
    torch.testing.assert_close(ours, layer.weight.grad)


def test_parameters_of_a_functional_call_are_recomputed_with():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.layer = LayerNorm(4), nn.Linear(4, 4)

        def forward(self, x):
            return recomputed(self.layer, x, self.norm)

    model, x = Both(), torch.randn(3, 4)
    others = {name: torch.randn_like(p).requires_grad_() for name, p in model.named_parameters()}
    torch.func.functional_call(model, others, (x,)).square().sum().backward()
    ours = others["layer.weight"].grad
    normed = nn.functional.layer_norm(x, (4,), others["norm.weight"], others["norm.bias"])
    others["layer.weight"].grad = None
    nn.functional.linear(
        normed, others["layer.weight"], others["layer.bias"]
    ).square().sum().backward()
    torch.testing.assert_close(ours, others["layer.weight"].grad)


def test_fake_tensors_pass():
    """As tools that estimate the memory of a training use them; they have no address."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        layer, norm, x = nn.Linear(4, 4), LayerNorm(4), torch.empty(3, 4)
        recomputed(layer, x, norm).sum().backward()
    assert layer.weight.grad.shape == (4, 4)


def test_a_layer_that_keeps_its_output_leaks_no_graph():
    gc.collect()
    gc.disable()
    try:
        x, norm = torch.randn(3, 4, requires_grad=True), LayerNorm(4)
        out = recomputed(nn.Sigmoid(), x, norm)
        reference = weakref.ref(out)
        del out
        assert reference() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("dims", [2, 3])
def test_maps_that_forward_hooks_hold_are_not_overwritten(dims):
    torch.manual_seed(0)
    model = UniFormer(TINY, dims=dims).eval()
    held = []

    def hold(name, inputs, output):
        maps = [value for value in (*inputs, output) if isinstance(value, torch.Tensor)]
        held.extend((name, value, value.clone()) for value in maps)

    for name, module in model.named_modules():
        module.register_forward_hook(
            lambda _, inputs, output, name=name: hold(name, inputs, output)
        )
    with torch.no_grad():
        model(torch.randn(1, 3, *[4] * (dims - 2), 64, 64))
    assert held
    assert [name for name, value, before in held if not torch.equal(value, before)] == []


def test_gradients_of_gradients():
    torch.manual_seed(0)
    layer, norm = nn.Linear(4, 4).double(), LayerNorm(4).double()
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: recomputed(layer, x, norm, GELU()), (x,))


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, contextlib.nullcontext])
def test_without_gradients_nothing_is_different(context):
    layer, norm = nn.Conv2d(4, 8, 1).requires_grad_(False), BatchNorm2d(4).requires_grad_(False)
    x = torch.randn(2, 4, 5, 6)
    with context():
        assert torch.equal(recomputed(layer, x, norm), layer(nn.BatchNorm2d(4)(x)))
    assert norm.num_batches_tracked == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_the_copy_in_half_precision_is_not_stored(dtype):
    """A norm in single precision, as on GPUs: the layer casts its output."""
    layer, norm = nn.Linear(4, 8), LayerNorm(4)
    x = torch.randn(3, 4, requires_grad=True)
    kept = []
    norm.register_forward_hook(
        lambda module, inputs, output: kept.append(StorageWeakRef(output.untyped_storage()))
    )
    with torch.autocast("cpu", dtype):
        out = recomputed(layer, x, norm)
    assert all(storage.expired() for storage in kept)
    out.float().square().sum().backward()
    ours, layer.weight.grad = layer.weight.grad, None
    with torch.autocast("cpu", dtype):
        layer(norm(x)).float().square().sum().backward()
    assert torch.equal(ours, layer.weight.grad)


def test_chains_are_recomputed():
    conv, norm, gelu = nn.Conv2d(4, 4, 1), BatchNorm2d(4), GELU()
    x = torch.randn(2, 4, 3, 3, requires_grad=True)
    recomputed(conv, x, norm, gelu).square().sum().backward()
    ours, conv.weight.grad = conv.weight.grad, None
    conv(gelu(norm(x))).square().sum().backward()
    assert torch.equal(ours, conv.weight.grad)


def test_hooks_of_others_decide():
    packed = []

    def pack(tensor):
        packed.append(tensor)
        return tensor

    layer, norm, x = nn.Linear(4, 4), LayerNorm(4), torch.randn(3, 4, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        normed = norm(x)
        out = recomputed(layer, x, norm)
    out.sum().backward()
    assert any(torch.equal(tensor, normed) for tensor in packed)


def test_two_threads_do_not_mix():
    models, expected = [], []
    for kind in (UniFormer, UniFormerLight):
        torch.manual_seed(0)
        models.append(kind(TINY).double().train())
        expected.append(gradients(models[-1], torch.ones(2, 3, 64, 64).double()))
    found = [None, None]

    def work(i):
        for _ in range(3):
            found[i] = gradients(models[i], torch.ones(2, 3, 64, 64).double())

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for ours, alone in zip(found, expected, strict=True):
        for name, gradient in alone.items():
            torch.testing.assert_close(ours[name], gradient, msg=name)
