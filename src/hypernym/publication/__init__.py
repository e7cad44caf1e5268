"""A trained model made into what others open: a folder for a hub, ONNX, a program of torch."""
