"""Writers: one file format each, and outputs that appear whole or not at all."""
