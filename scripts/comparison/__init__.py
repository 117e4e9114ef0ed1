"""The parts of `scripts/compare_outputs.py`. Only `make` and what it imports need the package and PyTorch."""
