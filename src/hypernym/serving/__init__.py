"""A trained model behind an address: a page for people, a JSON API for programs."""
