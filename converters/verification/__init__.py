"""Prove that two files hold the same network."""
