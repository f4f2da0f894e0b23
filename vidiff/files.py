"""Reading and writing small files: settings with a clear error, texts so that they are whole or absent."""

from __future__ import annotations

import codecs
import os
from pathlib import Path
from typing import Any

from vidiff.errors import UsageError, doing


def write_text(path: Path, text: str) -> None:
    """Write through a temporary name in the same folder; the folder is made."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with doing(f"writing {path}"):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(text, encoding="utf-8")
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds; an empty file is an empty one.

    Raises:
        UsageError: not UTF-8, not YAML, or no mapping.
    """
    import yaml

    raw = path.read_bytes()
    try:
        content = yaml.safe_load(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        utf16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        how = "it is UTF-16, as `>` writes in PowerShell (there: | Out-File -Encoding utf8)" if utf16 else "it is not"
        raise UsageError(f"{path} must be saved as UTF-8: {how}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content or {}, dict):
        raise UsageError(f"{path} must hold a mapping of settings, not a {type(content).__name__}")
    return content or {}
