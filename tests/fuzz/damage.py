"""Damaged and malicious files, as strategies of hypothesis."""

import builtins
import copy
import functools
import io
import operator
import os
import pathlib
import subprocess
from argparse import Namespace

import torch
from hypothesis import strategies as st
from safetensors.torch import save

from uniformer_mm.models import UniFormer

ARCH = {"depths": (1, 1, 1, 1), "embed_dims": (8, 8, 16, 16), "head_dim": 8}


def small_model():
    """Build a backbone with all kinds of tensors, the same in every call."""
    torch.manual_seed(0)
    return UniFormer(ARCH)


def zipped(content):
    """A file in the current format of torch."""
    return _saved(content, _use_new_zipfile_serialization=True)


def legacy(content):
    """A file in the format of torch before 1.6."""
    return _saved(content, _use_new_zipfile_serialization=False)


def safetensors(state):
    """A safetensors file."""
    return save({name: tensor.contiguous() for name, tensor in state.items()})


def _saved(content, **options):
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


@st.composite
def damaged(draw, content):
    """A truncated file, or one with changed, missing or repeated bytes."""
    kind = draw(st.sampled_from(["truncate", "flip", "overwrite", "cut", "insert", "repeat"]))
    # Most bytes are numbers of a tensor: what says where they are is at both ends.
    ends = st.integers(0, min(4096, len(content) - 1))
    place = st.one_of(
        st.integers(0, len(content) - 1), ends, ends.map(lambda n: len(content) - 1 - n)
    )
    at = draw(place)
    length = draw(st.integers(1, 64))
    match kind:
        case "truncate":
            return content[:at]
        case "flip":
            changed = bytearray(content)
            for position in [at, *draw(st.lists(place, max_size=3))]:
                changed[position] ^= 1 << draw(st.integers(0, 7))
            return bytes(changed)
        case "overwrite":
            other = draw(st.binary(min_size=1, max_size=64))
            return content[:at] + other + content[at + len(other) :]
        case "cut":
            return content[:at] + content[at + length :]
        case "insert":
            return content[:at] + draw(st.binary(min_size=1, max_size=64)) + content[at:]
    return content[: at + length] + content[at:]


class Calls:
    """Call a function when unpickled."""

    def __init__(self, function, *arguments):
        self.function = function
        self.arguments = arguments

    def __reduce__(self):
        return self.function, self.arguments


def calls(canary):
    """Objects that create the file `canary` if unpickling runs their code."""
    code = f"open({str(canary)!r}, 'w').close()"
    return [
        Calls(os.system, f"touch {canary}"),
        Calls(subprocess.call, ["touch", str(canary)]),
        Calls(builtins.eval, code.replace(".close()", "")),
        Calls(builtins.exec, code),
        Calls(open, str(canary), "w"),
        Calls(pathlib.Path.touch, canary),
        Calls(functools.partial(os.mknod, str(canary))),
        Calls(operator.methodcaller("touch"), canary),
        Calls(getattr, Calls(__import__, "os"), "system"),
        Calls(torch.load, str(canary)),
        Calls(torch.hub.load, str(canary)),
        Calls(torch.save, {}, str(canary)),
        Calls(Namespace, Calls(os.system, f"touch {canary}")),
    ]


@st.composite
def odd_contents(draw, state):
    """A state dict with wrong entries, in any wrapper."""
    names = [name for name in state if state[name].dim()]
    sound, state = state, dict(state)
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from(names))
        state[name] = draw(odd_values(sound[name]))
    for _ in range(draw(st.integers(0, 2))):
        state[draw(ODD_NAMES)] = draw(odd_values(torch.ones(16)))
    for name in draw(st.lists(st.sampled_from(names), max_size=2)):
        state.pop(name, None)
    wrapper = draw(st.sampled_from([None, "state_dict", "model", "model_state", "ema", 7]))
    content = state if wrapper is None else {wrapper: state}
    if draw(st.booleans()):
        content[draw(st.sampled_from(["state_dict", "model", "meta", "epoch"]))] = draw(JSON_LIKE)
    return content


JSON_LIKE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
"""Any JSON value."""

ODD_NAMES = st.one_of(
    st.text(max_size=12),
    st.integers(),
    st.none(),
    st.binary(max_size=4),
    st.tuples(st.integers()),
    st.sampled_from(
        [
            *("backbone.", "backbone", "module.", ".", "norm9.weight", "x" * 10**5),
            *("blocks1.99999999999999999999.a", "blocks4.7.", "blocks3.-1.a", "cls_token"),
            *("blocks3.0.t_attn.qkv.weight", "\x1b[31m", "a\nb", "patch_embed1.proj.0.weight"),
        ]
    ),
)


@st.composite
def odd_values(draw, tensor):
    """A wrong value in place of a tensor."""
    sizes = st.lists(st.sampled_from([0, 1, 2, 3, 7]), max_size=6)
    makers = [
        lambda: draw(JSON_LIKE),
        lambda: torch.ones(draw(sizes)),
        lambda: tensor.to(draw(st.sampled_from(DTYPES))),
        lambda: tensor * draw(st.sampled_from([float("nan"), float("inf"), -float("inf"), 0])),
        lambda: tensor.to("meta"),
        lambda: tensor.to_sparse(),
        lambda: torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.quint8),
        lambda: torch.nested.nested_tensor([tensor, tensor]),
        lambda: tensor.to(torch.complex64).conj(),
        lambda: torch.ones(1).expand(tensor.shape),
        lambda: torch.ones(1).expand(2**30, 2**30),
        lambda: torch.nn.Parameter(tensor.float()),
        lambda: tensor.numpy(),
        lambda: {"a": tensor},
        lambda: [tensor],
        lambda: tensor[..., :0],
        lambda: tensor.flatten(),
        lambda: tensor.mT if tensor.dim() > 1 else tensor[None],
    ]
    return draw(st.sampled_from(makers))()


DTYPES = [
    *(torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.complex64),
    *(torch.int64, torch.uint8, torch.bool),
]


@st.composite
def changed(draw, content):
    """JSON content with an entry, anywhere, that is missing, replaced or repeated.

    Kinds of entries are equally likely, such as masks of annotations or numbers of their boxes.
    """
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 2))):
        kinds = {}
        for kind, place, key in _entries(content):
            kinds.setdefault(kind, []).append((place, key))
        if not kinds:
            break
        place, key = draw(st.sampled_from(kinds[draw(st.sampled_from(sorted(kinds)))]))
        action = draw(st.sampled_from(["delete", "replace", "replace", "repeat"]))
        if action == "delete":
            del place[key]
        elif action == "replace":
            place[key] = draw(st.one_of(ODD_NUMBERS, JSON_LIKE))
        elif isinstance(place, list):
            place.append(copy.deepcopy(place[key]))
    return content


def _entries(place, kind=""):
    """Yield kind, container and key of every value in JSON content, at any depth."""
    for key, inner in place.items() if isinstance(place, dict) else enumerate(place):
        inner_kind = f"{kind}.{key}" if isinstance(place, dict) else f"{kind}[]"
        yield inner_kind, place, key
        if isinstance(inner, dict | list):
            yield from _entries(inner, inner_kind)


ODD_NUMBERS = st.sampled_from(
    [float("nan"), float("inf"), -1, 0, -0.5, 1e300, 2**31, 2**63, 2**100, "1", True, [], {}]
)


@st.composite
def odd_settings(draw, names, most=2):
    """Values of any kind for a few settings, many of them valid."""
    chosen = draw(st.lists(st.sampled_from(names), min_size=0, max_size=most, unique=True))
    return {name: draw(ODD_SETTINGS) for name in chosen}


_PLAIN = st.one_of(
    st.integers(-2, 40),
    st.floats(-1, 8),
    st.sampled_from([float("nan"), float("inf"), True, False, None, "", "0", "false", "small"]),
    st.sampled_from(["global", "window", "hybrid", "patch", "conv", "none", "all", "layer"]),
    st.sampled_from(["batch", "xxs", -1, 2, 3]),
    st.text(max_size=4),
)
ODD_SETTINGS = st.one_of(
    _PLAIN,
    _PLAIN,
    st.lists(st.integers(-1, 16), max_size=5),
    st.tuples(*[st.integers(0, 16)] * 4),
    st.lists(_PLAIN, min_size=4, max_size=4),
    st.dictionaries(st.sampled_from(["depths", "type", "checkpoint", "a", 1]), _PLAIN, max_size=3),
    st.lists(st.dictionaries(st.sampled_from(["type", "checkpoint"]), _PLAIN), max_size=2),
)
"""Values in a config that are small enough to build."""
