"""Documents with questions in, task adapters out: span-pooled contrastive training of an encoder."""
