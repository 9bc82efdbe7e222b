"""From the source of a checkpoint to a file on this machine."""

import hashlib
import logging
import re
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlparse

import torch
from mmengine.logging import print_log

from uniformer_mm.checkpoints.facts import file_hash, known_hash
from uniformer_mm.checkpoints.io import diagnose
from uniformer_mm.checkpoints.zoo import list_models, published_file
from uniformer_mm.errors import CheckpointError, printable
from uniformer_mm.writing import locked

SCHEMES = ("http://", "https://", "hf://")

HUB_SOURCES = (
    re.compile(r"hf://(?P<repo>[^/@]+/[^/@]+)(@(?P<revision>[^/]+))?/(?P<file>.+)"),
    re.compile(
        r"https://huggingface\.co/(?P<repo>[^/]+/[^/]+)/(resolve|blob)/(?P<revision>[^/]+)"
        r"/(?P<file>[^?#]+)([?#].*)?"
    ),
)
"""Files on the Hugging Face Hub."""

NETWORK_ERRORS = (URLError, HTTPException, ConnectionError, TimeoutError, ssl.SSLError)
"""Errors of reading from a URL; other OSErrors come from the disk."""

TIMEOUT = 30.0
"""Seconds without an answer."""

LONGEST_FILE_NAME = 255
"""Bytes, in most file systems."""

UNQUOTED = "".join(map(chr, range(33, 127)))
"""Characters that stay as they are in a URL."""


def locate(source: str) -> Path:
    """Find the file of a checkpoint; download it at first use.

    Args:
        source: A path, an `https://` or `http://` URL, `hf://OWNER/REPOSITORY[@REVISION]/FILE` for
            a file on the Hugging Face Hub, or the name of a model of the zoo.

    Returns:
        An existing file. Files of the Hub are in the cache of huggingface_hub, other downloads in
        the folder of `torch.hub` (`TORCH_HOME/hub/checkpoints`). A file that was placed there under
        the URL's file name is taken if it has the published SHA-256.

    Raises:
        CheckpointError: There is no such file, it has no public download, or the download failed.
    """
    source = str(source)
    if source.startswith(SCHEMES):
        return _download(source)
    path = Path(source).expanduser()
    try:
        if path.is_file():
            return path
    except OSError as error:
        raise CheckpointError(f"cannot look for {source}: {error.strerror or error}") from error
    model = next((model for model in list_models() if model.name == source), None)
    if model and model.weights:
        return _download(model.weights)
    if model:
        page = model.weights_page or "https://github.com/Sense-X/UniFormer"
        raise CheckpointError(
            f"{source} has no public direct download: get the file from the authors ({page}) and"
            " give its path"
        )
    if path.exists():
        raise CheckpointError(f"{source} is a folder or a device: give the file of a checkpoint")
    raise CheckpointError(
        f"no checkpoint at {source}: it is neither a file nor the name of a model of the zoo"
        " (uniformer_mm.list_models()). Weights that the authors publish on Google Drive or Baidu"
        " only are linked from https://github.com/Sense-X/UniFormer"
    )


def _download(source: str) -> Path:
    """Return the file of a URL or of the Hub from a cache, downloaded if it is not there."""
    hub = next((match for pattern in HUB_SOURCES if (match := pattern.fullmatch(source))), None)
    if source.startswith("hf://") and not hub:
        raise CheckpointError(
            f"expected hf://OWNER/REPOSITORY[@REVISION]/FILE, got {printable(source)}"
        )
    repo, revision, file = hub.group("repo", "revision", "file") if hub else ("", None, "")
    revision = unquote(revision or "main")
    url = f"https://huggingface.co/{repo}/resolve/{revision}/{file}" if hub else source
    cache = Path(torch.hub.get_dir(), "checkpoints")
    with _readable_errors(url, cache):
        name, expected = _file_name(url), known_hash(url)
    # Files of different owners share names: every URL has a folder of its own.
    target = cache / hashlib.sha256(url.encode()).hexdigest()[:12] / name
    if target.is_file():
        return target
    if (cache / name).is_file():
        if expected and file_hash(cache / name).startswith(expected):
            return cache / name
        reason = f"its SHA-256 is not {expected}" if expected else "its SHA-256 is not published"
        _warn(f"{cache / name} is not used for {url}: {reason}. To use it, give its path")
    if hub and find_spec("huggingface_hub"):  # else as any other URL: no tokens, no mirrors
        return _from_hub(source, repo, unquote(file), revision, expected)
    with _readable_errors(url, target.parent):
        _fetch(url, target, expected)
    return target


def _from_hub(source: str, repo: str, file: str, revision: str, expected: str) -> Path:
    """Download a file with huggingface_hub, which has its own cache, locks and tokens."""
    from huggingface_hub import hf_hub_download

    try:
        path = Path(hf_hub_download(repo, file, revision=revision))
    except Exception as error:  # its HTTP libraries have exceptions of their own
        cause = str(error.__cause__ or error).strip().split("\n", 1)[0]
        raise CheckpointError(
            f"{printable(source)} cannot be downloaded ({type(error).__name__}:"
            f" {printable(cause)}): check repository, revision, file name and network. Private and"
            " gated repositories need a token (HF_TOKEN); HF_HOME is the folder of the cache"
        ) from error
    if not (digest := file_hash(path)).startswith(expected):
        raise _hash_mismatch(source, f"expected {expected}, {path} has {digest}")
    return path


def _fetch(url: str, target: Path, expected: str) -> None:
    """Download next to the target, verify, and rename: other processes never see a part of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        (target.parent / ".lock").open("ab") as lock,
        locked(lock, wait=True),
        TemporaryDirectory(dir=target.parent, prefix=".") as folder,
    ):
        if target.is_file():  # downloaded by another process in the meantime
            return
        if url.startswith("http://") and not expected:
            _warn(
                f"{url} is plain http without a published SHA-256: the file can be replaced on the"
                " way. Use https if the server has it"
            )
        print_log(f"downloading {url}", logger="current")
        partial = Path(folder, "partial")
        timeout = socket.getdefaulttimeout()
        socket.setdefaulttimeout(TIMEOUT)  # torch.hub waits forever
        try:
            torch.hub.download_url_to_file(
                quote(url, safe=UNQUOTED), str(partial), progress=sys.stderr.isatty()
            )
        finally:
            socket.setdefaulttimeout(timeout)
        if fault := diagnose(partial):
            raise CheckpointError(f"{url} is not a checkpoint: {fault}")
        size, model = partial.stat().st_size, published_file(url)
        if model and model.weights_size not in (None, size):
            raise CheckpointError(
                f"{url} has {size} bytes, expected {model.weights_size}: the download is incomplete"
                " or the file was replaced"
            )
        if not (digest := file_hash(partial)).startswith(expected):
            raise _hash_mismatch(url, f"expected {expected}, got {digest}")
        partial.replace(target)


@contextmanager
def _readable_errors(url: str, folder: Path) -> Iterator[None]:
    """Turn errors of the network and of the disk into a CheckpointError of one line."""
    try:
        yield
    except HTTPError as error:
        raise CheckpointError(
            f"{url} cannot be downloaded: {error}. Check the URL: the file may have moved, or need"
            " a login"
        ) from error
    except NETWORK_ERRORS as error:
        raise CheckpointError(
            f"{url} cannot be downloaded ({getattr(error, 'reason', error)}): check the network, or"
            " download the file elsewhere and give its path; to train from random weights, set"
            " init_cfg to None"
        ) from error
    except ValueError as error:
        raise CheckpointError(f"{printable(url)} is not a valid URL: {error}") from error
    except OSError as error:
        raise CheckpointError(
            f"{url} cannot be saved in {folder}: {error.strerror or error}. Free some space or make"
            " the folder writable, or set TORCH_HOME to another one"
        ) from error


def _file_name(url: str) -> str:
    """Last part of a URL's path; ValueError if the URL is invalid or has none."""
    parts = urlparse(url)
    name = Path(unquote(parts.path)).name
    if not (url.isprintable() and parts.hostname and parts.port != 0 and name.isprintable()):
        raise ValueError("it has no host, or a control character")
    if not name or len(name.encode()) > LONGEST_FILE_NAME:
        raise ValueError("it names no file")
    return name


def _hash_mismatch(source: str, hashes: str) -> CheckpointError:
    return CheckpointError(
        f"{source}: SHA-256 mismatch: the download is corrupted or the file was replaced ({hashes})"
    )


def _warn(message: str) -> None:
    print_log(message, logger="current", level=logging.WARNING)
