"""From a list of videos to uint8 clips."""
