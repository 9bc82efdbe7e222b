"""From where a checkpoint comes to a file on this machine, whole or not at all."""

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlparse
from urllib.request import Request, urlopen

import torch
from mmengine.dist import barrier, get_rank

from uniformer_mm.errors import UserError
from uniformer_mm.zoo import list_models

HASHES = {
    "https://huggingface.co/Andy1621/uniformer/resolve/main/uniformer_small_in1k.pth": (
        "fd192c31f8bd77670de8f171111bd51f56fd87e6aea45043ab2edc181e1fa775"
    ),
}
"""SHA-256 of files for which one is public."""

HASH_IN_NAME = re.compile(r"[-_]([0-9a-f]{8,64})(?:_\d{8})?\.(?:pth|safetensors)$")
"""OpenMMLab's files carry the first digits of their SHA-256 in their names, then maybe a date."""

CHUNK = 1 << 20
TIMEOUT = 30.0
"""Seconds without an answer."""


class CheckpointError(UserError):
    """A checkpoint cannot be read, or does not belong to the model."""


def locate(source: str) -> Path:
    """The file of a checkpoint, downloaded at first use.

    Args:
        source: A path, an `https://` (or `http://`) URL, `hf://OWNER/REPOSITORY/FILE` for a file on
            the Hugging Face hub, or the name of a model of the zoo.

    Returns:
        An existing file. Downloads are kept where `torch.hub` keeps them
        (`TORCH_HOME/hub/checkpoints`).

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
    if path.is_file():
        return path
    models = {model.name: model for model in list_models()}
    if source in models:
        url = models[source].weights
        if url is None:
            raise CheckpointError(
                f"{source} has no public direct download: get the file from the authors"
                " (https://github.com/Sense-X/UniFormer) and give its path"
            )
        return _download(url)
    raise CheckpointError(
        f"no checkpoint at {source}: it is neither a file nor the name of a model of the zoo"
        " (uniformer_mm.zoo.list_models())"
    )


def _hub_url(source: str) -> str:
    parts = source.removeprefix("hf://").split("/", 2)
    if len(parts) != 3 or not all(parts):
        raise CheckpointError(f"expected hf://OWNER/REPOSITORY/FILE, got {source}")
    owner, repository, file = parts
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    return f"{endpoint}/{owner}/{repository}/resolve/main/{file}"


def _download(url: str) -> Path:
    """The file of a URL in torch's cache; the first process of a distributed run fetches it."""
    folder = Path(torch.hub.get_dir(), "checkpoints")
    # Files of different owners share names: what comes from elsewhere gets a folder of its own.
    owner = hashlib.sha256(url.encode()).hexdigest()[:12]
    target = folder / owner / Path(urlparse(url).path).name
    with _first_process_first():
        if not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
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
    """Download beside the target, verify, and rename into place."""
    digest = hashlib.sha256()
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    partial = Path(name)
    try:
        request = Request(url, headers={"User-Agent": "uniformer-mm"})
        with os.fdopen(handle, "wb") as file, urlopen(request, timeout=TIMEOUT) as answer:
            expected = answer.headers.get("Content-Length")
            kind = answer.headers.get("Content-Type", "")
            received = 0
            while chunk := answer.read(CHUNK):
                if received == 0 and ("html" in kind or chunk.lstrip()[:1] == b"<"):
                    raise CheckpointError(
                        f"{url} is a web page, not a file: is the address that of the download"
                        " itself, and does it need no login?"
                    )
                digest.update(chunk)
                file.write(chunk)
                received += len(chunk)
        if expected is not None and received != int(expected):
            raise CheckpointError(
                f"the download of {url} stopped after {received} of {expected} bytes: run it again"
            )
        hashed = HASH_IN_NAME.search(target.name)
        wanted = HASHES.get(url) or (hashed[1] if hashed else "")
        if not digest.hexdigest().startswith(wanted):
            raise CheckpointError(
                f"{url} has SHA-256 {digest.hexdigest()}, expected {wanted}: the file was damaged"
                " or exchanged on the way"
            )
        partial.replace(target)
    except HTTPError as error:
        raise CheckpointError(f"{url} cannot be downloaded: {error}") from error
    except (URLError, HTTPException, TimeoutError, OSError) as error:
        raise CheckpointError(
            f"{url} cannot be downloaded ({getattr(error, 'reason', error)}): check the network, or"
            " download the file elsewhere and give its path; to train from random weights, set"
            " init_cfg to None"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
