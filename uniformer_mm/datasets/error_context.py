"""Read samples of any codebase's dataset, with errors that name the file at fault."""

from collections.abc import Sequence
from pathlib import Path
from traceback import extract_tb
from typing import Any

from uniformer_mm.errors import UserError, add_hint, is_in_own_code

PATH_KEYS = ("img_path", "filename", "frame_dir")
"""Keys of a sample's file: image, video, or folder of frames."""


class ErrorContextDataset:
    """View of a dataset whose errors name the sample.

    Data loaders use it if its `__getitems__` becomes an attribute of the dataset.

    Args:
        dataset: The dataset.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __getitem__(self, index: int) -> Any:
        """Return a sample; see `read_sample`."""
        return read_sample(self.dataset, index)

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return the samples of a batch."""
        return [self[index] for index in indices]


def read_sample(dataset: Any, index: int) -> Any:
    """Return a sample of a dataset.

    Raises:
        UserError: It cannot be read, or a step of the pipeline fails on it. Errors in the user's
            own code are raised as they are.
    """
    try:
        return dataset[index]
    except (UserError, FileNotFoundError):
        raise
    except Exception as error:
        if "failed to load image" in str(error):
            raise
        if is_in_own_code(error):
            add_hint(error, f"it occurred for {_path_of(dataset, index)}")
            raise
        raise UserError(unusable(_path_of(dataset, index), error)) from error


def unusable(path: str, error: Exception) -> str:
    """Describe the failure of a pipeline step on a file."""
    last = extract_tb(error.__traceback__)[-1]
    place = "/".join(Path(last.filename).parts[-2:])
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return (
        f"{path} cannot be used ({reason}, in {place}, line {last.lineno}). Look at the file and"
        " its annotations; if all files fail, at the pipeline in the config."
    )


def _path_of(dataset: Any, index: int) -> str:
    try:
        info = dataset.get_data_info(index)
        return next(str(info[key]) for key in PATH_KEYS if key in info)
    except Exception:  # datasets differ, and this is on the way to another error
        return f"sample {index}"
