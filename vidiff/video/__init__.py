"""Videos on disk: reading them exactly, writing them, copying what comes with them, showing them on one page."""
