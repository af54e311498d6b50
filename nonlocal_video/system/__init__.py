"""Files, signals, ranks and processes."""
