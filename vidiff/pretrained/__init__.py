"""Networks that are used but never trained here, and the files that their weights come in."""
