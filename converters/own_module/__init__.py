"""A module of the user's own: built by their code, on their word, and held against a file."""
