"""YAML files run code when they are read.

Defect: mmengine reads YAML with PyYAML's unsafe loader: `x: !!python/object/apply:os.system [...]`
    in a config, a metafile or an annotation file is executed when it is read.
Versions: mmengine <= 0.10.7.
Shows as: nothing.
Repair: the safe loader, which also knows tuples, since mmengine's own dumps have them.
Upstream: https://github.com/yaml/pyyaml/wiki/PyYAML-yaml.load(input)-Deprecation
"""

from typing import Any

import yaml  # type: ignore[import-untyped]
from mmengine.fileio.handlers import yaml_handler


class SafeLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Load plain data and tuples."""


def _tuple(loader: Any, node: Any) -> tuple[Any, ...]:
    return tuple(loader.construct_sequence(node, deep=True))


SafeLoader.add_constructor("tag:yaml.org,2002:python/tuple", _tuple)


def apply() -> None:
    """Let mmengine read YAML with the safe loader."""
    yaml_handler.Loader = SafeLoader


def is_active() -> bool:
    """Whether mmengine reads YAML with the safe loader."""
    return yaml_handler.Loader is SafeLoader
