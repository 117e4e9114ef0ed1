"""Propose a mapping between two checkpoints that no table knows: evidence, pairs, templates, text."""
