"""One module for each command that is more than a call: its arguments, and what it prints."""
