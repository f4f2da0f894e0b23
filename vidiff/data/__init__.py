"""From a folder of videos to batches of clips."""
