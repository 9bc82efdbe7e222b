"""Measuring speed and memory: ours, a peer's, and what the hardware allows."""
