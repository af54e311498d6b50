"""The report of a census."""
