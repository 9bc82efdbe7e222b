"""How the layers of a backbone run: kernels, matrix products, recomputed activations."""
