"""Transfer: how good a pretrained model is on another dataset.

Shapes: N images that are learned from, M images that are scored, D features, K labels, G heads trained
at once. Features are float32 (N, D); targets are labels, int64 (N,), or, with several labels an image,
bool (N, K). The scores of every method are float32 (M, K): one label: logits, of which a softmax makes
probabilities; several labels: log-odds, of which a sigmoid does.
"""
