"""Scores become numbers: sums and counts that are reduced over the ranks once."""
