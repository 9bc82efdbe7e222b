"""What differs between the codebases: data, scores, predictions and synthetic runs."""

from mmengine.config import Config

from uniformer_mm.errors import UserError
from uniformer_mm.tasks.action_detection import ActionDetection
from uniformer_mm.tasks.mmaction import Video
from uniformer_mm.tasks.mmdet import Detection
from uniformer_mm.tasks.mmpose import Pose
from uniformer_mm.tasks.mmpretrain import Classification
from uniformer_mm.tasks.mmseg import Segmentation
from uniformer_mm.tasks.task import Task

TASKS: dict[str, Task] = {
    task.scope: task for task in (Detection(), Segmentation(), Pose(), Video(), Classification())
}
"""Tasks by the `default_scope` of their configs."""

ACTION_DETECTION = ActionDetection()
"""The task of mmaction2's configs with a RoI head."""


def task_of(cfg: Config) -> Task:
    """Return the task of a config.

    Raises:
        UserError: Its `default_scope` is not one of the five codebases.
    """
    scope = cfg.get("default_scope")
    if scope not in TASKS:
        where = f" in {cfg.filename}" if cfg.filename else ""
        raise UserError(f"default_scope must be one of {tuple(TASKS)}, got {scope!r}{where}")
    if scope == "mmaction" and "roi_head" in cfg.get("model", {}):
        return ACTION_DETECTION
    return TASKS[scope]


__all__ = ["TASKS", "Task", "task_of"]
