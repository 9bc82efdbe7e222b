"""Reading samples of any codebase's dataset, with errors that name the file at fault."""

from collections.abc import Sequence
from pathlib import Path
from traceback import extract_tb
from typing import Any

from uniformer_mm.errors import UserError, add_hint, is_in_own_code

PATH_KEYS = ("img_path", "filename", "frame_dir")
"""How datasets call the file of a sample: images, videos, folders of frames."""


class NamedReads:
    """Reads samples of a dataset, in the process or in a worker.

    As the dataset's attribute `__getitems__` it is what torch's data loaders call.

    Args:
        dataset: The dataset.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __call__(self, indices: Sequence[int]) -> list[Any]:
        """The samples of a batch."""
        return [read_sample(self.dataset, index) for index in indices]


def read_sample(dataset: Any, index: int) -> Any:
    """A sample of a dataset.

    Raises:
        UserError: It cannot be read, or a step of the pipeline fails on it. What fails in code of
            the user's own is raised as it is.
    """
    try:
        return dataset[index]
    except (UserError, FileNotFoundError):
        raise
    except Exception as error:
        if "failed to load image" in str(error):
            raise
        if is_in_own_code(error):
            add_hint(error, f"it came up with {_path_of(dataset, index)}")
            raise
        raise UserError(unusable(_path_of(dataset, index), error)) from error


def unusable(path: str, error: Exception) -> str:
    """What is said of a file on which a step of a pipeline has failed."""
    last = extract_tb(error.__traceback__)[-1]
    place = "/".join(Path(last.filename).parts[-2:])
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return (
        f"{path} cannot be used ({reason}, in {place}, line {last.lineno}). Look at the file and"
        " its annotations; if all fail, at the pipeline in the config."
    )


def _path_of(dataset: Any, index: int) -> str:
    try:
        info = dataset.get_data_info(index)
        return next(str(info[key]) for key in PATH_KEYS if key in info)
    except Exception:  # datasets are of many kinds, and another error is being reported
        return f"sample {index}"
