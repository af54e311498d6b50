"""Lists of videos in every form that people have, and the names of classes."""
