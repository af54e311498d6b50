"""Weights of other code bases: one file for each format, from their names to ours."""
