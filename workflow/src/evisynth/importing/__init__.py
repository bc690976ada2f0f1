"""Evidence from the files where people have it, as study files or tables."""
