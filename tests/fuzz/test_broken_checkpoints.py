"""Any file is loaded as data, or refused by its name; no code in it is run."""

import copy
import io
import os
import pickle
import socket
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from damage import (
    JSON_LIKE,
    calls,
    damaged,
    legacy,
    odd_contents,
    safetensors,
    small_model,
    zipped,
)
from huggingface_hub import constants
from hypothesis import given
from hypothesis import strategies as st
from profiles import share
from running import run_inside
from small_models import DETECTOR

from uniformer_mm.apis.dataset_meta import written_meta
from uniformer_mm.checkpoints import CheckpointError, load_pretrained, read_checkpoint

MODEL = small_model()
STATE = MODEL.state_dict()
FILES = {
    "zip": (zipped({"state_dict": STATE, "meta": {"epoch": 1}}), "pth"),
    "legacy": (legacy({"model": STATE}), "pth"),
    "safetensors": (safetensors(STATE), "safetensors"),
    "pickle": (pickle.dumps({"state_dict": {"a": 1}}, protocol=2), "pth"),
    "plain zip named safetensors": (zipped(STATE), "safetensors"),
    "safetensors named pth": (safetensors(STATE), "pth"),
}
MEMORY = 2**28
"""Bytes that reading a file of less than 1 MiB may take."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def load(path):
    """The tensors of a model loaded from a file; None if it was refused with a proper error."""
    model = copy.deepcopy(MODEL)
    try:
        load_pretrained(model, str(path))
    except CheckpointError as error:
        first, *others = str(error).splitlines()
        assert str(path) in first
        assert first.isprintable()
        assert not others or "nothing was loaded" in first, "one line, or the report"
        untouched = model.state_dict()
        assert all(torch.equal(untouched[name], tensor) for name, tensor in STATE.items())
        return None
    return model.state_dict()


@share(100)
@given(st.sampled_from(sorted(FILES)), st.data())
def test_damaged_files_are_refused_or_harmless(folder, name, data):
    content, suffix = FILES[name]
    path = folder / f"damaged.{suffix}"
    path.write_bytes(data.draw(damaged(content)))
    loaded = load(path)
    if loaded and name == "zip":
        for tensor, wanted in zip(loaded.values(), STATE.values(), strict=True):
            assert torch.equal(tensor, wanted), "a checksum would have told"


@share(40)
@given(odd_contents(STATE), st.sampled_from([zipped, legacy]))
def test_contents_of_any_kind_are_loaded_as_they_are_or_refused(folder, content, save):
    path = folder / "odd.pth"
    try:
        path.write_bytes(save(content))
    except (RuntimeError, NotImplementedError):  # torch has no way to save that
        return
    loaded = load(path)
    if loaded:
        for name, tensor in loaded.items():
            assert tensor.dtype == STATE[name].dtype
            assert tensor.layout == torch.strided
            assert not tensor.is_meta


@pytest.mark.parametrize("force", [None, "1"])
@pytest.mark.parametrize("save", [zipped, legacy, pickle.dumps, lambda c: pickle.dumps(c, 0)])
def test_nothing_in_a_file_is_run(tmp_path, monkeypatch, save, force):
    if force:  # must not disable the weights-only reader
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", force)
    canary, path = tmp_path / "canary", tmp_path / "hostile.pth"
    for call in calls(canary):
        path.write_bytes(save({"state_dict": {**STATE, "a": call}}))
        assert load(path) is None
        assert not canary.exists()


def bomb():
    """512 MiB of zeros in 512 KiB."""
    source, target = io.BytesIO(zipped({"a": torch.zeros(2**10)})), io.BytesIO()
    with zipfile.ZipFile(source) as parts, zipfile.ZipFile(target, "w") as changed:
        for part in parts.infolist():
            content = parts.read(part)
            if part.filename.endswith("data/0"):
                content = bytes(2**29)
            changed.writestr(part.filename, content, zipfile.ZIP_DEFLATED)
    return target.getvalue()


def huge_storage():
    """A storage that claims 2**40 numbers, in torch's old format."""
    content = legacy({"a": torch.zeros(1000)})
    small = b"M" + struct.pack("<H", 1000)
    assert small in content
    return content.replace(small, b"\x8a\x06" + (2**40).to_bytes(6, "little"))


def huge_tensor(save):
    """A tensor that claims 2**60 numbers, in a storage of one."""
    return save({**STATE, "blocks3.0.norm1.weight": torch.zeros(1).expand(2**30, 2**30)})


def huge_header():
    """A header of safetensors that claims 2**40 characters."""
    return struct.pack("<Q", 2**40) + b"{" + b" " * 1000


def huge_entry():
    """A tensor of 2**40 numbers in a file of safetensors that has none."""
    header = b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'
    return struct.pack("<Q", len(header)) + header


def resident_memory(name):
    """Bytes of this process: now (VmRSS), or at most (VmHWM)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{name}:")[2].split()[0]) * 2**10


def nested():
    """A list in a list, 100,000 times."""
    return b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b"."


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        (bomb, "pth"),
        (huge_storage, "pth"),
        (lambda: huge_tensor(zipped), "pth"),
        (lambda: huge_tensor(legacy), "pth"),
        (huge_header, "safetensors"),
        (huge_entry, "safetensors"),
        (nested, "pth"),
    ],
)
@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux")
def test_claimed_sizes_take_no_memory(tmp_path, content, suffix):
    path = tmp_path / f"huge.{suffix}"
    path.write_bytes(content())
    before = resident_memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    assert load(path) is None
    assert resident_memory("VmHWM") - before < MEMORY


def test_a_flipped_bit_is_detected(tmp_path):
    path = tmp_path / "weights.pth"
    content = bytearray(FILES["zip"][0])
    content[content.index(STATE["patch_embed2.proj.weight"].numpy().tobytes()) + 2] ^= 1
    path.write_bytes(content)
    torch.load(path, weights_only=True)
    with pytest.raises(CheckpointError, match=r"weights\.pth: .* archive/data/\d+,"):
        read_checkpoint(str(path))


@pytest.mark.parametrize(
    ("make", "fact"),
    [
        (Path.mkdir, "folder"),
        (os.mkfifo, "device"),
        (lambda path: path.symlink_to("/dev/zero"), "device"),
        (lambda path: path.symlink_to(path), ""),
    ],
)
def test_what_is_not_a_checkpoint_file_is_named(tmp_path, make, fact):
    path = tmp_path / "weights.pth"
    make(path)
    with pytest.raises(CheckpointError, match=fact) as caught:
        read_checkpoint(str(path))
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()


ODD_META = st.one_of(
    JSON_LIKE,
    st.fixed_dictionaries(
        {"dataset_meta": st.one_of(JSON_LIKE, st.fixed_dictionaries({"classes": JSON_LIKE}))}
    ),
    st.fixed_dictionaries({"CLASSES": st.one_of(JSON_LIKE, st.lists(st.text()))}),
)


@share(100)
@given(ODD_META)
def test_classes_are_names_that_can_be_printed_or_refused(meta):
    try:
        names = (written_meta({"meta": meta}, Path("odd.pth")) or {}).get("classes") or ()
    except CheckpointError as error:
        names = [str(error)]
    assert all(name.isprintable() for name in names)


@share(100)
@given(
    st.text(), st.sampled_from(["http://", "https://", "http://host/", "hf://a/b/", "http://[::"])
)
def test_addresses_of_any_kind_are_refused_in_one_line(text, scheme):
    """Without a network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", unknown_host)
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(CheckpointError) as caught:
            read_checkpoint(f"{scheme}{text}")
    assert str(caught.value).isprintable()


def unknown_host(*_, **__):
    raise socket.gaierror(-2, "Name or service not known")


BROKEN = {
    "truncated": FILES["zip"][0][:-300],
    "code": zipped({"state_dict": {**STATE, "a": calls("canary")[0]}}),
    "other": zipped({"state_dict": {"a": torch.ones(3)}}),
}
"""Contents of files that no tool may take for weights; test_io has more."""


@pytest.mark.stack
@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("tool", ["infer", "convert_checkpoint", "test"])
def test_tools_name_a_broken_checkpoint_and_write_nothing(
    synthetic_folder, tmp_path, monkeypatch, capsys, tool, name
):
    monkeypatch.chdir(tmp_path)
    Path("weights.pth").write_bytes(BROKEN[name])
    Path("detector.py").write_text(DETECTOR)
    coco = synthetic_folder / "data" / "synthetic" / "coco"
    data = ("--coco", coco / "train2017", coco / "annotations" / "instances_train2017.json")
    images = coco / "val2017"
    arguments = {
        "infer": ("detector.py", images, "--checkpoint", "weights.pth", "--out", "out"),
        "convert_checkpoint": ("detector.py", "weights.pth", "--out-dir", "out"),
        "test": ("detector.py", "weights.pth", *data, "--work-dir", "work", "--scores", "out/s"),
    }
    assert run_inside(f"{tool}.py", *arguments[tool]) == 2
    error = capsys.readouterr().err.partition("error: ")[2]
    assert "weights.pth" in error
    assert "Traceback" not in error
    assert len(error.splitlines()) == 1 or "nothing was loaded" in error
    assert Path("weights.pth").read_bytes() == BROKEN[name]
    assert {path.name for path in Path().iterdir()} <= {"weights.pth", "detector.py", "work"}
    assert not list(Path().rglob("*.json"))
