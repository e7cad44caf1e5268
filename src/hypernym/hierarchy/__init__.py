"""From a taxonomy to a tree of classes, and from the tree to arrays (NumPy only)."""
