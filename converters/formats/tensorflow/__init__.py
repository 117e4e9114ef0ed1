"""TensorFlow checkpoints, V1 and V2."""
