"""Describe a file, and compare two files."""
