"""From bytes that a gateway or a file gave to batches that the store accepts."""
