"""Turn texts and spans into unit vectors: tokens, windows, pooling, batches."""
