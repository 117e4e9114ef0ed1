"""The operations on a tensor's way from file to file, one module for each kind; `base` has what all have in common."""
