"""What MkDocs calls while it builds the site: the pages under reference/ are made here and are in no folder."""

from __future__ import annotations

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from reference import menu, pages


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the menu's empty entry `Reference`."""
    for entry in config.nav:
        if entry == {"Reference": []}:
            entry["Reference"] = menu()
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages themselves."""
    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files
