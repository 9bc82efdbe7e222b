"""Stand-in for `pkg_resources`: what mmengine 0.10 uses of it.

mmengine reloads the module to see freshly installed packages, so no state is kept here.
"""

from __future__ import annotations

from importlib import metadata


class DistributionNotFound(Exception):  # noqa: N818
    """No distribution of that name is installed."""


class Distribution:
    """An installed distribution."""

    def __init__(self, name: str) -> None:
        """Look up `name`, spelt as in `pip install`.

        Raises:
            DistributionNotFound: If it is not installed.
        """
        try:
            self._distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError as error:
            raise DistributionNotFound(f"The {name!r} distribution was not found") from error
        self.project_name = self._distribution.metadata["Name"]
        self.version = self._distribution.version
        # The folder that holds the metadata: site-packages, also for editable installs.
        self.location = str(self._distribution.locate_file(""))

    def has_metadata(self, name: str) -> bool:
        """Whether the distribution has the metadata file `name`."""
        return self._distribution.read_text(name) is not None

    def get_metadata(self, name: str) -> str:
        """Text of the metadata file `name`.

        Raises:
            FileNotFoundError: If there is no such file.
        """
        text = self._distribution.read_text(name)
        if text is None:
            raise FileNotFoundError(f"{self.project_name} {self.version} has no metadata {name!r}")
        return text


def get_distribution(name: str) -> Distribution:
    """The installed distribution `name`."""
    return Distribution(name)


def fixup_namespace_packages(path_item: str, parent: str | None = None) -> None:
    """Do nothing: no namespace packages are declared here.

    pytest's `syspath_prepend` calls it as soon as some `pkg_resources` has been imported.
    """
