"""Caffe2's pickles of blobs and its protobuf nets."""
