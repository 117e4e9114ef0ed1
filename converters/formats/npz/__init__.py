"""numpy's ``.npz`` archives."""
