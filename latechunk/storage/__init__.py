"""The SQLite file of an index: documents, spans, vectors, words."""
