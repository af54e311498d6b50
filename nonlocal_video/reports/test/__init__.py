"""The report of one test, and comparisons of two."""
