"""mmpretrain takes hidden folders for classes, and leaves files out without a word.

Defect: in a set with a folder per class, `.ipynb_checkpoints` and the like become class 0 and shift
    all others; hidden folders inside of class folders give samples; files of other formats, such as
    webp, are skipped silently.
    https://github.com/open-mmlab/mmpretrain/issues/507
Versions: mmpretrain 1.2.0.
Shows as: one class more than there are, an assertion on the GPU, fewer samples than files.
Repair: hidden folders are ignored, and a warning counts what is skipped.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from logging import WARNING
from pathlib import PurePath
from types import ModuleType
from typing import Any

from uniformer_mm.compat.after_import import repair_after_import


def apply() -> None:
    """Repair folder datasets as soon as they are imported."""
    repair_after_import("mmpretrain.datasets.custom", repair)


def is_active() -> bool:
    """Whether mmpretrain is installed: every version that we take has the defect."""
    return find_spec("mmpretrain") is not None


def repair(module: ModuleType) -> None:
    """Let CustomDataset and those that derive from it see visible folders only."""
    find_folders, get_samples = module.find_folders, module.get_samples
    if hasattr(find_folders, "__wrapped__"):
        return

    @functools.wraps(find_folders)
    def find_visible_folders(*args: Any, **options: Any) -> tuple[list[str], dict[str, int]]:
        folders = [name for name in find_folders(*args, **options)[0] if name[0] != "."]
        return folders, {name: index for index, name in enumerate(folders)}

    @functools.wraps(get_samples)
    def get_visible_samples(
        root: str, folder_to_idx: Any, is_valid_file: Callable[[str], bool], backend: Any = None
    ) -> tuple[list[Any], Any]:
        skipped: Counter[str] = Counter()

        def is_sample(file: str) -> bool:
            path = PurePath(file)
            if any(part[0] == "." for part in path.parts):
                return False
            valid = is_valid_file(file)
            skipped[path.suffix.lower()] += not valid
            return valid

        found = get_samples(root, folder_to_idx, is_sample, backend)
        warn_of_skipped(root, skipped)
        return found

    module.find_folders, module.get_samples = find_visible_folders, get_visible_samples  # type: ignore[attr-defined]


def warn_of_skipped(root: str, skipped: Counter[str]) -> None:
    """Say how many files of which kinds are no samples.

    Args:
        root: Where they are.
        skipped: Counts by suffix; those of what is read are 0.
    """
    from mmengine.logging import print_log

    kinds = [f"{count} {suffix or 'without suffix'}" for suffix, count in (+skipped).most_common()]
    if kinds:
        print_log(
            f"{root}: {(+skipped).total()} files are skipped ({', '.join(kinds)}). To read more"
            " formats of OpenCV's, set `extensions` of the dataset",
            logger="current",
            level=WARNING,
        )
