"""Mutate files of every format, and see that every verb answers as it should: see scripts/fuzz.py."""
