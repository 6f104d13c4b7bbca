"""Whether late chunking helps on given documents, by how much, and how sure that is."""
