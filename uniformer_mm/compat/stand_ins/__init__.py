"""Sources that `uniformer_mm.compat.supplying` imports under a missing module's name."""
