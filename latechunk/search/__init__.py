"""A question and its options become hits."""
