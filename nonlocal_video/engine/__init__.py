"""The loops: training, evaluation, and what they keep."""
