"""Results in words, for a terminal: a module for each subject."""
