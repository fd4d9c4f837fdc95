"""Networks as numpy → numpy, on ONNX Runtime. Knows neither torch nor what a network is for."""
