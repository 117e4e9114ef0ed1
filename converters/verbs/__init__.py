"""One module for each command: its arguments, the call, and what it prints."""
