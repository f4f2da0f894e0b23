"""Where the values of a run go: `metrics.csv` always, and a dashboard if one is wanted."""
