"""Losses over a tree of classes.

Shapes: B images, C classes, L depths, N classes of one depth. Every loss takes logits (B, C) of any
float type, computes in float32 (float64 logits: in float64), and returns a scalar: the mean over the
batch. Targets are labels, int64 (B,), or shares of labels, float (B, C), as mixup and cutmix make
them; of an image with several labels each is 1. `known`, bool (B, C), says which classes are known of
an image: the others take no part.
"""
