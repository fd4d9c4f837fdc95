"""Networks as numpy → numpy: weight files, ONNX Runtime, and PyTorch where the extra ``train`` is installed."""
