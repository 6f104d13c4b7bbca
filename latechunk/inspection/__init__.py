"""One document of an index as a page, its chunks shaded by how well they answer a question, late and naive."""
