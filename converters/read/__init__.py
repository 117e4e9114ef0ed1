"""Readers: one file format each. Files are data: nothing in one ever runs."""
