"""One file a verb; no command imports another."""
