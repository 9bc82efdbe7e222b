"""Benchmarks, feature and attention maps, training curves."""
