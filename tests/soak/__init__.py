"""Broken files, kills and full disks by the hundred: `python -m tests.soak --help`."""
