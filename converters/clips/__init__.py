"""Turn a video's frames into a network's clip."""
