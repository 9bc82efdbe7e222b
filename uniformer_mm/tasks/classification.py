"""Placeholder."""

from uniformer_mm.tasks.task import Task


class Classification(Task):
    """Placeholder."""

    scope = "mmpretrain"
    extra = "cls"
    synthetic_datasets = ()
    default_count = 0
    scores = ()
    picture_switch = "enable"
    picture_folder = "out_dir"
