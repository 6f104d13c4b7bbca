"""Train adapters for texts compared as wholes: to match, classify or cluster them, from scored pairs or labels.

They become further tasks of a folder of adapters, which ``Encoder.encode_texts(task=)`` uses.
"""
