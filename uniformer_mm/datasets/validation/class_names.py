"""Names of classes in the config of a dataset."""

from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from uniformer_mm.datasets.overrides import dataset_configs
from uniformer_mm.errors import UserError


def check_class_names(cfg: Config, splits: Sequence[str]) -> None:
    """Refuse a string as the classes of a dataset unless it is a file of names.

    `classes=("ship")` is a string: the codebases would take its characters for classes.

    Args:
        cfg: The config.
        splits: Of 'train', 'val' and 'test' those whose data will be read.

    Raises:
        UserError: There is one.
    """
    for split, dataset in dataset_configs(cfg):
        for classes in ((dataset.get("metainfo") or {}).get("classes"), dataset.get("classes")):
            if split not in splits or not isinstance(classes, str) or "://" in classes:
                continue
            if not Path(classes).expanduser().is_file():
                raise UserError(
                    f"classes of the dataset for {split} is the string {classes!r}, and no file of"
                    f" names, one a line: for one class write classes=({classes!r},), with a comma"
                )
