"""Placeholder."""

from uniformer_mm.tasks.task import Task


class Pose(Task):
    """Placeholder."""

    scope = "mmpose"
    extra = "pose"
    synthetic_datasets = ()
    default_count = 0
    scores = ()
    picture_switch = "enable"
    picture_folder = "out_dir"
