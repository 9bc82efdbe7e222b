"""Find, download, read and load checkpoints."""

from uniformer_mm.checkpoints.download import locate
from uniformer_mm.checkpoints.load import LoadReport, load_pretrained, read_checkpoint
from uniformer_mm.errors import CheckpointError

__all__ = ["CheckpointError", "LoadReport", "load_pretrained", "locate", "read_checkpoint"]
