"""Classify a video with a network: its frames in, the likeliest classes out."""
