"""The makers of small video files as fixtures, and a cache of its own for each test."""

from makers import _own_cache, make, strips  # noqa: F401
