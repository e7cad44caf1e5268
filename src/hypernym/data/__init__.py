"""From archives of images to shards with an index, and from shards to batches."""
