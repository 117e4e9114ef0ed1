"""Propose a mapping between two checkpoints."""
