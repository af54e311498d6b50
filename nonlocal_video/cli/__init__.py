"""The Hydra edge: from words of a command line to settings, and to jobs."""
