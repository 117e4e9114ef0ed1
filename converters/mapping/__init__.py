"""The tables of names and shapes, expanded into exact lists before any tensor is read."""
