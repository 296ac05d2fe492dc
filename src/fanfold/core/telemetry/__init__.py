"""What the server tells about itself: request ids, logs, metrics."""
