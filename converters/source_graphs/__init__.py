"""The networks from their sources' side, as ONNX graphs: the source framework's operators, names and conventions
over the untouched source arrays.

Nothing here knows the mapping tables or the PyTorch networks: that both ways of computing agree is evidence. A
network is a list of its framework's operators (`vmz`, `slowfast`, `i3d`, `c3d`, `bn_inception` ...); a vocabulary
(`caffe2`, `tensorflow`, `caffe`) says how each operator is written in ONNX. Importing this needs neither onnx nor
numpy.
"""
