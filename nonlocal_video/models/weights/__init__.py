"""Weights in files: our own (`file`), and those of other code bases (`read`)."""
