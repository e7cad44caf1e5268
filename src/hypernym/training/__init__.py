"""Training: one loop, given a task."""
