"""Augmentation of whole batches, for the data preprocessors of the codebases."""
