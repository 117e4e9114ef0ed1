"""The networks as their source frameworks compute them, in ONNX: the framework's operators, names and conventions over
the untouched source arrays.

Nothing here knows the mapping tables or the PyTorch networks: that both ways of computing agree is evidence. Each
module of `networks` writes a project's networks as a list of its framework's operators (`net`), each module of
`operators` says how a framework's operators are written in ONNX (`translation`), and `registry` finds both by their
names. Importing this needs neither onnx nor numpy.
"""
