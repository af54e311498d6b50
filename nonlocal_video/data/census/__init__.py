"""What the videos of a list are really like."""
