"""Verify, repair, export, import and audit an index."""
