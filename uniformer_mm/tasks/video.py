"""Placeholder."""

from uniformer_mm.tasks.task import Task


class Video(Task):
    """Placeholder."""

    scope = "mmaction"
    extra = "video"
    synthetic_datasets = ()
    default_count = 0
    scores = ()
    picture_switch = "enable"
    picture_folder = "out_dir"
