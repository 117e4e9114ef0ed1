"""What Paddle adds to a state dict that it saves. Source: ``paddle/framework/io.py`` and ``io_utils.py``."""

NAME_TABLE = "StructuredToParameterName@@"
"""The entry with each tensor's name in the program, by its name in the state dict."""

PIECES = "UnpackBigParamInfor@@"
"""The entry that says of which pieces a big tensor is made: ``{name: {"OriginShape": ..., "slices": [...]}}``."""

SHAPE, SLICES = "OriginShape", "slices"
"""What that entry says of each."""

PIECE_BYTES = (1 << 30) - 1
"""Bytes at most of a piece; protocols 2 and 3 cannot hold 4 GiB."""
