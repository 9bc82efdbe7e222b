"""Which distributions an import name comes from: the original packages or their forks."""

import functools
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec

FORKS = {
    "mmengine": "onedl-mmengine",
    "mmcv": "onedl-mmcv",
    "mmdet": "onedl-mmdetection",
    "mmseg": "onedl-mmsegmentation",
    "mmpretrain": "onedl-mmpretrain",
}
"""Distributions of the maintained forks by the module that they install."""

WITHOUT_FORK = {"mmpose": "mmpose==1.3.2", "mmaction": "mmaction2==1.2.0"}
"""What to install next to the forks. Their dependencies are the original packages."""


@functools.cache
def _distributions() -> dict[str, list[str]]:
    return {name: list(dict.fromkeys(owners)) for name, owners in packages_distributions().items()}


def owners(package: str) -> list[str]:
    """Names of the installed distributions that have a package of this import name.

    There is more than one where one was installed over the other.
    """
    return _distributions().get(package, [])


def versions(package: str) -> dict[str, str]:
    """Versions of the distributions that have a package of this import name."""
    return {name: version(name) for name in owners(package)}


def uses_forks() -> bool:
    """Whether a fork is installed: the original packages would overwrite its files."""
    return any(fork in owners(module) for module, fork in FORKS.items())


def install_command(module: str, extra: str) -> str:
    """The command that installs a codebase, and mmcv-lite if there is no mmcv.

    Args:
        module: Python module of the codebase.
        extra: Extra of this package that installs it.
    """
    if uses_forks():
        if module in FORKS:
            return "pip install 'uniformer-mm[onedl]'"
        return f"pip install --no-deps {WITHOUT_FORK[module]}"
    extras = extra if find_spec("mmcv") else f"{extra},lite"
    return f"pip install 'uniformer-mm[{extras}]'"
