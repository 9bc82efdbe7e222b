"""Synthetic datasets in the formats of the benchmarks."""
