"""Reading checkpoints, and fitting them to models."""

from uniformer_mm.checkpoints.loading import LoadReport, load_pretrained
from uniformer_mm.checkpoints.reading import read_checkpoint
from uniformer_mm.checkpoints.sources import CheckpointError, locate

__all__ = ["CheckpointError", "LoadReport", "load_pretrained", "locate", "read_checkpoint"]
