"""Training: a sample store and a config become weight files and ONNX graphs. Needs the extra ``train``."""
