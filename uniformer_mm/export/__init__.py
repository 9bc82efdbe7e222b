"""Models as graphs without Python: `torch.export` and ONNX, checked against the model itself."""
