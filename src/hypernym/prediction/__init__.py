"""A trained model applied to pictures: what they may be, what is answered, and the one who answers."""
