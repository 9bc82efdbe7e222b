"""Looking inside: attention, kernels and feature maps of models, their data and their training."""
