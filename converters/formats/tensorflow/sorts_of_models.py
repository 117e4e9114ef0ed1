"""What sort of model TensorFlow 2's variables are of, in words, by their paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .object_graph import LAYER, SUFFIX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.tensor import Tensor

_SIGNS = {
    "_box_predictor/": "a detector of the TensorFlow 2 Object Detection API",
    "_feature_extractor/": "a detector of the TensorFlow 2 Object Detection API",
    "_mobile_bottleneck/": "a network of MoViNet's blocks, in another form",
    "_attention_layer/": "a transformer of TensorFlow 2",
    "_self_attention/": "a transformer of TensorFlow 2",
    "_transformer_layers/": "a transformer of TensorFlow 2",
    "_embedding_layer/": "a transformer of TensorFlow 2",
}
"""Parts of paths that one sort of model has."""

_LEAVES = (
    ("depthwise_kernel", "depthwise convolution"),
    ("recurrent_kernel", "recurrent layer"),
    ("gamma", "norm"),
    ("embeddings", "embedding"),
)
"""The variables by which a layer is known."""


def model_in_words(tensors: Mapping[str, Tensor]) -> str:
    """Such as ``a Keras model (3 layers: 1 convolution, 1 dense layer, 1 norm)``; empty where the variables are not
    TensorFlow 2's."""
    paths = {name.removesuffix(SUFFIX): tensor for name, tensor in tensors.items() if name.endswith(SUFFIX)}
    if not paths:
        return ""
    for sign, words in _SIGNS.items():
        if any(sign in path for path in paths):
            return words
    layers: dict[str, int] = {}
    for path, tensor in paths.items():
        leaf = path.rpartition("/")[2]
        word = dict(_LEAVES).get(leaf, "")
        if leaf == "kernel":
            word = "dense layer" if len(tensor.shape) == 2 else "convolution"
        if word:
            layers[word] = layers.get(word, 0) + 1
    kind = "a Keras model" if any(LAYER in path for path in paths) else "a model of TensorFlow 2"
    counted = ", ".join(f"{count} {word}{'s' * (count > 1)}" for word, count in sorted(layers.items()))
    return f"{kind} ({counted})" if counted else kind
