"""Private parts of torch that the export uses, each with a fallback for a torch without it."""

from torch.export import ExportedProgram


def clear_guards(program: ExportedProgram) -> None:
    """Remove the recorded conditions on sizes under which convolutions chose a memory layout.

    They would refuse a single image, or one whose last map has a single row; results do not depend
    on the layout. Fallback: none is needed where programs record no conditions.
    """
    getattr(program, "_guards_code", []).clear()
