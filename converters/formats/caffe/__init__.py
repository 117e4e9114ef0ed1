"""Caffe's binary models (``.caffemodel``) and mean cubes."""
