"""The embedded data set: scenes drawn from a seed, painted in four styles, rendered to real video files."""
