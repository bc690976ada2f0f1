"""Evidence and analyses in forms that other programs read."""
