"""Translations of the source frameworks' operators to ONNX."""
