"""Approximate nearest neighbours: a FAISS index, kept in step with the store."""
