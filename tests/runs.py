"""Reset what mmengine keeps in a process from one run to the next."""

from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer


def forget_runs():
    """Give the next run a new logger, message hub, visualizer and scope."""
    for manager in (MMLogger, MessageHub, DefaultScope, *_with_subclasses(Visualizer)):
        manager._instance_dict.clear()


def _with_subclasses(kind):
    """A class and all its subclasses: each keeps instances of its own."""
    return [kind, *(each for child in kind.__subclasses__() for each in _with_subclasses(child))]
