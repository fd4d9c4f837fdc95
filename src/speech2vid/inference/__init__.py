"""Stills and audio → video, on ONNX Runtime and numpy. The public names are those of the package itself."""
