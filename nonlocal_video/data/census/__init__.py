"""Surveys of the videos of lists: which are there and whole, and what is suspicious about them."""
