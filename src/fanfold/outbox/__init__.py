"""What is told of a transaction, written in it and delivered after it, at least once."""
