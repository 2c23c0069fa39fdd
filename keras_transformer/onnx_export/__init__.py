"""From trained weights to ONNX graphs, with no training framework in the process."""
