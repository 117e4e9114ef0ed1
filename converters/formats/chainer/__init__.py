"""Chainer's ``.npz`` and ``.h5`` files."""
