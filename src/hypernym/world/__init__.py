"""A small drawn world: pictures of WordNet classes made from code, without network or data."""
