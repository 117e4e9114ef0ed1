"""From an open checkpoint to an output: identify, plan, write."""
