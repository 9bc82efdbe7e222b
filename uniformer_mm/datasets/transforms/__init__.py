"""Transforms of data pipelines."""
