"""PyTorch files: zip, legacy, TorchScript, sharded."""
