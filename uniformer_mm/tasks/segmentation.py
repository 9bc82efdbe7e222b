"""Placeholder."""

from uniformer_mm.tasks.task import Task


class Segmentation(Task):
    """Placeholder."""

    scope = "mmseg"
    extra = "seg"
    synthetic_datasets = ()
    default_count = 0
    scores = ()
    picture_switch = "enable"
    picture_folder = "out_dir"
