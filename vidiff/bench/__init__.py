"""Benchmarks: a definition on disk, the runs that it asks for, the table of their reports."""
