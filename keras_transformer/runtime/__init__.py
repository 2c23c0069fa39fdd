"""Translating with ONNX Runtime: the bundle, the sessions and the public translator. No Keras below here."""
