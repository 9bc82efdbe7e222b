"""Which distributions an import name comes from: the original packages or their forks."""

import functools
from importlib.metadata import packages_distributions, version


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
