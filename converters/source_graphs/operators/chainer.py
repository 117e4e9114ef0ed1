"""Chainer's functions in ONNX: those of C3D compute the same as Caffe's layers (``cover_all``)."""

from __future__ import annotations

from .caffe import VOCABULARY

__all__ = ["VOCABULARY"]
