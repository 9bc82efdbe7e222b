"""From where a checkpoint comes to a file on this machine, whole or not at all."""

import hashlib
import os
import re
import ssl
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlparse
from urllib.request import Request, urlopen
from uuid import uuid4

import torch
from mmengine.dist import barrier, get_rank
from mmengine.logging import print_log
from mmengine.utils import ProgressBar

from uniformer_mm.errors import UserError
from uniformer_mm.zoo import list_models, published_file

HUB = "https://huggingface.co/"
"""The Hugging Face hub; the environment variable HF_ENDPOINT names a mirror, as with its own
tools."""

HASH_IN_NAME = re.compile(
    r"-(?!20\d{6}[_.])([0-9a-f]{8,64})(?:_\d{8})?\.(?:pth|pt|bin|safetensors)$"
)
"""OpenMMLab's files carry the first digits of their SHA-256 in their names, then maybe a date; a
date alone is no hash."""

WEB_PAGE = re.compile(rb"\s*<(!|html|head|body|\?xml)", re.IGNORECASE)

NETWORK_ERRORS = (
    URLError,
    HTTPException,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
    ValueError,
)
"""What reading from a URL may raise; other OSErrors come from the disk."""

CHUNK = 1 << 20
TIMEOUT = 30.0
"""Seconds without an answer."""

ABANDONED = 3600.0
"""Seconds after which nobody is writing a partial file any more."""


class CheckpointError(UserError):
    """A checkpoint cannot be read, or does not belong to the model."""


def locate(source: str) -> Path:
    """The file of a checkpoint, downloaded at first use.

    Args:
        source: A path, an `https://` (or `http://`) URL, `hf://OWNER/REPOSITORY/FILE` for a file on
            the Hugging Face hub, or the name of a model of the zoo.

    Returns:
        An existing file. Downloads are kept where `torch.hub` keeps them
        (`TORCH_HOME/hub/checkpoints`) and not asked for again.

    Raises:
        CheckpointError: There is no such file, it has no public download, or the download failed;
            then nothing of it is left.
    """
    source = str(source)
    if source.startswith("hf://"):
        return _download(_hub_url(source))
    if source.startswith(("http://", "https://")):
        return _download(source)
    path = Path(source).expanduser()
    try:
        if path.is_file():
            return path
    except OSError as error:
        raise CheckpointError(f"cannot look for {source}: {error.strerror or error}") from error
    models = {model.name: model for model in list_models()}
    if source in models:
        url = models[source].weights
        if url is None:
            page = models[source].weights_page or "https://github.com/Sense-X/UniFormer"
            raise CheckpointError(
                f"{source} has no public direct download: get the file from the authors ({page})"
                " and give its path"
            )
        return _download(url)
    if path.exists():
        kind = "a folder" if path.is_dir() else "a pipe or a device"
        raise CheckpointError(f"{source} is {kind}: give the file of a checkpoint")
    raise CheckpointError(
        f"no checkpoint at {source}: it is neither a file nor the name of a model of the zoo"
        " (uniformer_mm.zoo.list_models()). Weights of the authors that are on Google Drive or"
        " Baidu only are linked from https://github.com/Sense-X/UniFormer"
    )


def known_hash(url: str) -> str:
    """SHA-256 of the file of a URL, or its first digits; empty if nobody has published them."""
    model, named = published_file(url), HASH_IN_NAME.search(_file_name(url))
    return (model and model.weights_sha256) or (named[1] if named else "")


def what_is_wrong(path: Path) -> str:
    """Why a file is no checkpoint, from a look at it; empty if nothing strikes the eye.

    torch does not compare the checksums that it writes: weights with a flipped bit would be loaded.
    """
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        return "it is empty"
    if WEB_PAGE.match(start):
        return "it is a web page, is the address that of the file itself, and does it need a login?"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, get the file that it stands for"
    if start.startswith(b"\x1f\x8b"):
        return "it is compressed with gzip, unpack it"
    if start.startswith(b"PK"):
        return damage(path)
    return ""


def damage(path: Path) -> str:
    """What is wrong with the archive that torch writes; empty if all its checksums are right."""
    try:
        with zipfile.ZipFile(path) as file:
            # torch compresses nothing: what is small here might be of any size in memory.
            if sum(part.file_size for part in file.infolist()) > path.stat().st_size:
                return "its parts are larger than the file"
            damaged = file.testzip()
    except OSError:
        raise
    except Exception as error:  # damaged files fail in many ways
        if not zipfile.is_zipfile(path):
            return "it is truncated, get it again"
        return f"it is damaged ({type(error).__name__}: {error}), get it again"
    return f"it is damaged in {damaged}, get it again" if damaged else ""


def _hub_url(source: str) -> str:
    parts = source.removeprefix("hf://").split("/", 2)
    if len(parts) != 3 or not all(parts):
        raise CheckpointError(f"expected hf://OWNER/REPOSITORY/FILE, got {source}")
    owner, repository, file = parts
    return f"{HUB}{owner}/{repository}/resolve/main/{file}"


def _file_name(url: str) -> str:
    return Path(unquote(urlparse(url).path)).name


def _download(url: str) -> Path:
    """The file of a URL in torch's cache; the first process of a distributed run fetches it."""
    if not _file_name(url):
        raise CheckpointError(f"{url} names no file")
    # Files of different owners share names: what comes from elsewhere gets a folder of its own.
    owner = hashlib.sha256(url.encode()).hexdigest()[:12]
    target = Path(torch.hub.get_dir(), "checkpoints", owner, _file_name(url))
    with _first_process_first():
        if not target.is_file():
            _fetch(url, target)
    return target


@contextmanager
def _first_process_first() -> Iterator[None]:
    if get_rank() > 0:
        barrier()
    try:
        yield
    finally:
        if get_rank() == 0:
            barrier()


def _fetch(url: str, target: Path) -> None:
    """Download beside the target, verify, and rename into place: also safe beside other processes.

    Raises:
        CheckpointError: One line on what went wrong; nothing is left.
    """
    address = url
    if url.startswith(HUB) and (mirror := os.environ.get("HF_ENDPOINT")):
        address = f"{mirror.rstrip('/')}/{url.removeprefix(HUB)}"
    try:
        with _partial_file(target) as partial:
            try:
                request = Request(address, headers={"User-Agent": "uniformer-mm"})
                with urlopen(request, timeout=TIMEOUT) as answer:
                    digest = _receive(answer, url, partial)
            except HTTPError as error:
                raise CheckpointError(
                    f"{address} cannot be downloaded: {error}. Check the address: the file may have"
                    " moved, or need a login"
                ) from error
            except NETWORK_ERRORS as error:
                raise CheckpointError(
                    f"{address} cannot be downloaded ({getattr(error, 'reason', error)}): check the"
                    " network, or download the file elsewhere and give its path; to train from"
                    " random weights, set init_cfg to None"
                ) from error
            if wrong := what_is_wrong(partial):
                raise CheckpointError(f"{address} gave no checkpoint: {wrong}")
            if not digest.startswith(known_hash(url)):
                raise CheckpointError(
                    f"{url} has SHA-256 {digest}, expected {known_hash(url)}: the file was damaged"
                    " or exchanged on the way"
                )
            partial.replace(target)
    except OSError as error:
        raise CheckpointError(
            f"{url} cannot be kept in {target.parent}: {error.strerror or error}. Make room or the"
            " folder writable, or set TORCH_HOME to another one"
        ) from error


@contextmanager
def _partial_file(target: Path) -> Iterator[Path]:
    """A new file beside the target that is gone afterwards, unless it was renamed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # What processes left behind that were killed.
    for left in target.parent.parent.glob("*/.uniformer-*.partial"):
        with suppress(FileNotFoundError):  # another has just ended
            if time.time() - left.stat().st_mtime > ABANDONED:
                left.unlink()
    partial = target.with_name(f".uniformer-{uuid4().hex}.partial")
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)


def _receive(answer: HTTPResponse, url: str, target: Path) -> str:
    """Write an answer into a new file.

    Returns:
        Its SHA-256.
    """
    expected = answer.headers.get("Content-Length")
    model = published_file(url)
    if expected and model and model.weights_size not in (None, int(expected)):
        raise CheckpointError(
            f"{url} has {expected} bytes, expected {model.weights_size}: the file was exchanged"
        )
    size = f" ({int(expected) / 1e6:.1f} MB)" if expected else ""
    print_log(f"downloading {url}{size}", logger="current")
    steps = -(-int(expected or 0) // CHUNK)
    bar = ProgressBar(steps, file=sys.stderr) if sys.stderr.isatty() else None
    digest, received = hashlib.sha256(), 0
    with target.open("xb") as file:
        while chunk := answer.read(CHUNK):
            digest.update(chunk)
            file.write(chunk)
            received += len(chunk)
            if bar:
                bar.update()
    if bar:
        sys.stderr.write("\n")
    if expected is not None and received != int(expected):
        raise CheckpointError(
            f"the download of {url} stopped after {received} of {expected} bytes: run it again"
        )
    return digest.hexdigest()
