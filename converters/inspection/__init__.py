"""What a file holds, and how two files differ."""
