"""Sources that `uniformer_mm.compat.last_resort` imports under a missing module's name."""
