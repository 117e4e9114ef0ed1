"""Mappings: tables of names and shapes, expanded into finite exact rows before any tensor is read."""
