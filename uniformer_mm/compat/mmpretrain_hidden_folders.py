"""mmpretrain treats hidden folders as classes and silently skips files of unknown formats.

Defect: in a dataset with a folder per class, `.ipynb_checkpoints` and the like become class 0 and
    shift all others; hidden folders in class folders give samples; files of other formats,
    such as webp, are skipped silently.
    https://github.com/open-mmlab/mmpretrain/issues/507
Versions: mmpretrain 1.2.0.
Shows as: one class too many, a CUDA assertion, fewer samples than files.
Repair: hidden folders are ignored, and a warning counts the files that are skipped.
"""

from collections import Counter
from collections.abc import Callable
from logging import WARNING
from pathlib import PurePath
from types import ModuleType
from typing import Any

from uniformer_mm.compat.patching import wrap


def patch(module: ModuleType) -> None:
    """Let CustomDataset and its subclasses ignore hidden folders."""
    wrap(module, "find_folders", _find_folders)
    wrap(module, "get_samples", _get_samples)


def _find_folders(find: Any, *args: Any, **kwargs: Any) -> tuple[list[str], dict[str, int]]:
    folders = [name for name in find(*args, **kwargs)[0] if name[0] != "."]
    return folders, {name: index for index, name in enumerate(folders)}


def _get_samples(
    get: Any, root: str, folder_to_idx: Any, is_valid_file: Callable[[str], bool], *args: Any
) -> tuple[list[Any], Any]:
    skipped: Counter[str] = Counter()

    def is_sample(file: str) -> bool:
        path = PurePath(file)
        if any(part[0] == "." for part in path.parts):
            return False
        valid = is_valid_file(file)
        skipped[path.suffix.lower()] += not valid
        return valid

    found = get(root, folder_to_idx, is_sample, *args)
    _warn_of_skipped(root, +skipped)
    return found


def _warn_of_skipped(root: str, skipped: Counter[str]) -> None:
    from mmengine.logging import print_log

    kinds = [f"{count} {suffix or 'without suffix'}" for suffix, count in skipped.most_common()]
    if kinds:
        print_log(
            f"{root}: {skipped.total()} files are skipped ({', '.join(kinds)}). To read more"
            " formats, set `extensions` of the dataset",
            logger="current",
            level=WARNING,
        )


PATCHES = {"mmpretrain.datasets.custom": patch}
