"""The network of a file as a graph for deployment."""
