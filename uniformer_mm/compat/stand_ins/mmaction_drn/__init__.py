"""Stand-in for `mmaction.models.localizers.drn`."""
