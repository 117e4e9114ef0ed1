"""Published files: name, card, hashes."""
