"""What mmengine keeps in a process from one run to the next."""

from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer


def forget_runs():
    """Let the next run have a logger, a message hub, a visualizer and a scope of its own."""
    for manager in (MMLogger, MessageHub, DefaultScope, *_with_subclasses(Visualizer)):
        manager._instance_dict.clear()


def _with_subclasses(kind):
    """A class and all that are derived from it: each keeps its instances by itself."""
    return [kind, *(each for child in kind.__subclasses__() for each in _with_subclasses(child))]
