"""The operations on a tensor's way from file to file, one module for each sort; `base` says what all have in common."""
