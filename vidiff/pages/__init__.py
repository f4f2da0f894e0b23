"""One HTML file that shows runs: their clips, measures, curves and settings. It needs no server and no network."""

from vidiff.pages.page import PAGE, write_page

__all__ = ["PAGE", "write_page"]
