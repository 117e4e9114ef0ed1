"""One module a family of networks: its operators in the source framework."""
