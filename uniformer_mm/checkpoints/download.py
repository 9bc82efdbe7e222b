"""From where a checkpoint comes to a file on this machine, whole or not at all."""

import functools
import hashlib
import logging
import os
import re
import socket
import ssl
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlparse
from urllib.request import Request, urlopen
from uuid import uuid4

import torch
from mmengine.logging import print_log
from mmengine.utils import ProgressBar

from uniformer_mm.checkpoints.zoo import list_models, published_file
from uniformer_mm.errors import CheckpointError, printable
from uniformer_mm.writing import PARTIAL, locked

HUB = "https://huggingface.co/"
"""The Hugging Face hub; the environment variable HF_ENDPOINT names a mirror, as with its own
tools."""

HASH_IN_NAME = re.compile(
    r"-(?!20\d{6}[_.])([0-9a-f]{8,64})(?:_\d{8})?\.(?:pth|pt|bin|safetensors)$"
)
"""OpenMMLab's files carry the first digits of their SHA-256 in their names, then maybe a date; a
date alone is no hash."""

WEB_PAGE = re.compile(rb"\s*<(!|html|head|body|\?xml)", re.IGNORECASE)

NETWORK_ERRORS = (URLError, HTTPException, ConnectionError, TimeoutError, ssl.SSLError)
"""What reading from a URL may raise; other OSErrors come from the disk."""

CHUNK = 1 << 20
TIMEOUT = 30.0
"""Seconds without an answer."""

LONGEST_FILE_NAME = 255
"""Bytes, in most file systems."""

ASCII = "".join(map(chr, range(33, 127)))
"""What stays as it is in a URL; the rest is written as %XX."""

LOCK = ".lock"
"""File of a folder in torch's cache that the process holds that downloads into it."""


def locate(source: str) -> Path:
    """The file of a checkpoint, downloaded at first use.

    Args:
        source: A path, an `https://` (or `http://`) URL, `hf://OWNER/REPOSITORY/FILE` for a file on
            the Hugging Face hub, or the name of a model of the zoo.

    Returns:
        An existing file. Downloads are kept below the folder of `torch.hub`
        (`TORCH_HOME/hub/checkpoints`) and not asked for again. A file of the URL's name that
        somebody has put into that folder is taken instead if it has the published hash.

    Raises:
        CheckpointError: There is no such file, it has no public download, or the download failed;
            then what has come is kept for the next time if the server can go on from there.
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
        " (uniformer_mm.list_models()). Weights of the authors that are on Google Drive or"
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
        raise CheckpointError(f"expected hf://OWNER/REPOSITORY/FILE, got {printable(source)}")
    owner, repository, file = parts
    return f"{HUB}{owner}/{repository}/resolve/main/{file}"


def _file_name(url: str) -> str:
    """Last part of a URL's path.

    Raises:
        CheckpointError: It is not a URL, or names no file.
    """
    try:
        parts = urlparse(url)
        name = Path(unquote(parts.path)).name
        reason = "" if parts.hostname and parts.port != 0 else "no host"
        if not url.isprintable():
            reason = "a control character"
    except ValueError as error:
        reason = str(error)
    if reason:
        raise CheckpointError(f"{printable(url)} is not an address: {reason}")
    if not name or not name.isprintable() or len(name.encode()) > LONGEST_FILE_NAME:
        raise CheckpointError(f"{printable(url)} names no file")
    return name


def _download(url: str) -> Path:
    """The file of a URL: from torch's cache, or from the network into it."""
    name = _file_name(url)
    cache = Path(torch.hub.get_dir(), "checkpoints")
    # Files of different owners share names: what comes from elsewhere gets a folder of its own.
    target = cache / hashlib.sha256(url.encode()).hexdigest()[:12] / name
    if target.is_file():
        return target
    if (cache / name).is_file() and _is_file_of(url, cache / name):
        return cache / name
    _fetch(url, target)
    return target


def _is_file_of(url: str, path: Path) -> bool:
    """Whether a file that somebody has put into torch's cache is that of a URL, by its hash."""
    expected = known_hash(url)
    if expected and file_hash(path).startswith(expected):
        return True
    reason = f"its SHA-256 is not {expected}" if expected else "nobody has published its hash"
    print_log(
        f"{path} is not used for {url}: {reason}. To use it, give its path",
        logger="current",
        level=logging.WARNING,
    )
    return False


def file_hash(path: Path) -> str:
    """SHA-256 of a file, which is read once as long as it stays as it is."""
    status = path.stat()
    return _hash_at(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _hash_at(path: Path, size: int, changed: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _fetch(url: str, target: Path) -> None:
    """Download beside the target, verify, and rename into place: also safe beside other processes.

    One that is stopped leaves what it has got if the server can go on from there.

    Raises:
        CheckpointError: One line on what went wrong.
    """
    address = url
    if url.startswith(HUB) and (mirror := os.environ.get("HF_ENDPOINT")):
        address = f"{mirror.rstrip('/')}/{url.removeprefix(HUB)}"
    expected = known_hash(url)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _turn(target.parent, url) as alone:
            if target.is_file():  # another process was faster
                return
            if address.startswith("http://") and not expected:
                print_log(
                    f"{address} comes over plain http and has no published hash: whoever is in"
                    " between can replace it. Use https if the server has it",
                    logger="current",
                    level=logging.WARNING,
                )
            partial = _Partial(target.parent, alone)
            try:
                _receive(address, url, partial)
                if wrong := what_is_wrong(partial.path):
                    raise CheckpointError(f"{address} gave no checkpoint: {wrong}")
                if not file_hash(partial.path).startswith(expected):
                    raise CheckpointError(
                        f"{url} has SHA-256 {file_hash(partial.path)}, expected {expected}: the"
                        " download is corrupted, or the file was replaced"
                    )
                partial.path.replace(target)
            except (_StoppedError, KeyboardInterrupt):
                if not partial.version:
                    partial.path.unlink(missing_ok=True)
                raise
            except BaseException:
                partial.path.unlink(missing_ok=True)
                raise
            partial.delete_others()
    except OSError as error:
        raise CheckpointError(
            f"{url} cannot be kept in {target.parent}: {error.strerror or error}. Make room or the"
            " folder writable, or set TORCH_HOME to another one"
        ) from error


@contextmanager
def _turn(folder: Path, url: str) -> Iterator[bool]:
    """Let one process after the other into a folder of the cache.

    Returns:
        Whether this process is alone there; False where the file system has no locks.
    """
    with (folder / LOCK).open("ab") as file:
        with locked(file) as alone:
            if alone:
                yield True
                return
        print_log(f"another process downloads {url}: waiting for it", logger="current")
        with locked(file, wait=True) as alone:
            yield alone


class _StoppedError(CheckpointError):
    """A download came to an end before its time."""


class _Partial:
    """What has been received of a file, under a name that no other process has.

    Args:
        folder: Where it is.
        alone: Whether what other processes left there may be continued.
    """

    def __init__(self, folder: Path, alone: bool) -> None:
        self.folder = folder
        self.alone = alone
        self.version = ""
        self.path = folder / self._name()

    def _name(self) -> str:
        version = hashlib.sha256(self.version.encode()).hexdigest()[:12]
        return f".{_host()}-{version}-{uuid4().hex[:12]}{PARTIAL}"

    def take(self, version: str) -> None:
        """Go on from what a process left of this version of the file, if it cannot be in use."""
        self.version = version
        name = self._name()
        self.path = self.folder / name
        if self.alone and version:
            pattern = f"{name.rpartition('-')[0]}-*{PARTIAL}"
            self.path = next(self.folder.glob(pattern), self.path)

    def delete_others(self) -> None:
        """Delete what processes on this machine left, once the file is there."""
        for path in self.folder.glob(f".{_host()}-*{PARTIAL}") if self.alone else ():
            path.unlink(missing_ok=True)

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self.path.stat().st_size if self.path.exists() else 0


def _host() -> str:
    """What tells machines apart that share a folder: their locks may not reach each other."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _receive(address: str, url: str, partial: _Partial) -> None:
    """Write the answers of a server into a file until it is whole.

    Raises:
        CheckpointError: There is no such file, or it is not the published one.
        _StoppedError: The network or the server gave up.
    """
    with _request(address) as answer:
        length = answer.headers.get("Content-Length")
        total = int(length) if length else None
        model = published_file(url)
        if total is not None and model and model.weights_size not in (None, total):
            raise CheckpointError(
                f"{url} has {total} bytes, expected {model.weights_size}: the file was replaced"
            )
        partial.take("" if total is None else _version(answer))
        size = "" if total is None else f" ({total / 1e6:.1f} MB)"
        rest = f", going on after {partial.size / 1e6:.1f} MB" if partial.size else ""
        print_log(f"downloading {url}{size}{rest}", logger="current")
        before = -1
        failure: Exception | None = None
        if not partial.size:
            failure = _append(answer, partial, total)
    while failure if total is None else partial.size < total:
        if partial.size <= before or not partial.version:
            raise _stopped(address, partial, total, failure)
        before = partial.size
        try:
            failure = _go_on(address, url, partial, total)
        except _StoppedError as error:  # not even an answer
            failure = error


def _go_on(address: str, url: str, partial: _Partial, total: int | None) -> Exception | None:
    """Ask for the rest of a file; what the network failed with."""
    with _request(address, partial.size) as answer:
        if answer.status != 206:  # the server does not go on after all
            partial.path.unlink()
            partial.version = ""
        elif _version(answer) != partial.version:
            raise CheckpointError(f"{url} was replaced while it was downloaded: run it again")
        return _append(answer, partial, total)


@contextmanager
def _request(address: str, start: int = 0) -> Iterator[HTTPResponse]:
    """The answer of a server about a file, from a byte on if it can do that."""
    headers = {"User-Agent": "uniformer-mm", **({"Range": f"bytes={start}-"} if start else {})}
    try:
        answer = urlopen(Request(quote(address, safe=ASCII), headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        kind = _StoppedError if error.code >= 500 else CheckpointError
        raise kind(
            f"{address} cannot be downloaded: {error}. Check the address: the file may have moved,"
            " or need a login"
        ) from error
    except (InvalidURL, ValueError) as error:
        raise CheckpointError(f"{address} is not an address: {error}") from error
    except NETWORK_ERRORS as error:
        raise _unreachable(address, error) from error
    with answer:
        yield answer


def _version(answer: HTTPResponse) -> str:
    """What tells versions of a file apart; empty if the server cannot go on in the middle of it."""
    headers = answer.headers
    if answer.status != 206 and headers.get("Accept-Ranges") != "bytes":
        return ""
    tag = headers.get("ETag", "")
    return headers.get("Last-Modified", "") if tag.startswith("W/") else tag


def _append(answer: HTTPResponse, partial: _Partial, total: int | None) -> Exception | None:
    """Write an answer at the end of a file.

    Returns:
        What the network failed with; None if the answer came to its end.
    """
    bar = None
    if total and sys.stderr.isatty():
        bar = ProgressBar(-(-total // CHUNK), file=sys.stderr)
        bar.completed = partial.size // CHUNK
    try:
        with partial.path.open("ab") as file:
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                if bar:
                    bar.update()
    except NETWORK_ERRORS as error:
        return error
    finally:
        if bar:
            sys.stderr.write("\n")
    return None


def _stopped(
    address: str, partial: _Partial, total: int | None, failure: Exception | None
) -> _StoppedError:
    if failure and not partial.version:
        return _unreachable(address, failure)
    again = ", it goes on from there" if partial.version else ""
    reason = f" ({failure.__cause__ or failure})" if failure else ""
    return _StoppedError(
        f"the download of {address} stopped after {partial.size} of {total} bytes{reason}: run it"
        f" again{again}"
    )


def _unreachable(address: str, error: Exception) -> _StoppedError:
    return _StoppedError(
        f"{address} cannot be downloaded ({getattr(error, 'reason', error)}): check the network, or"
        " download the file elsewhere and give its path; to train from random weights, set"
        " init_cfg to None"
    )
