"""Runs of several schemes and seeds, compared so that the answer can be believed."""
