"""A reader of pickles that runs nothing."""
