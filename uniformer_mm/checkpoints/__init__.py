"""Reading checkpoints of other code bases into our models."""

from uniformer_mm.checkpoints.loading import (
    CheckpointError,
    LoadReport,
    load_pretrained,
    read_checkpoint,
)

__all__ = ["CheckpointError", "LoadReport", "load_pretrained", "read_checkpoint"]
