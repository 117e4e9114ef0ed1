"""One module for each family of networks, called as the family is; each declares its `NETWORK`."""
