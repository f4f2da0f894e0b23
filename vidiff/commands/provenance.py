"""Say what pictures and videos tell of their origin, or sign them with a key of your own (C2PA)."""

from __future__ import annotations

import json
from pathlib import Path

from vidiff.errors import RunError, UsageError


def provenance(
    files: list[Path] | None = None,
    *,
    json_: bool = False,
    sign_key: Path | None = None,
    sign_certificate: Path | None = None,
    output: Path | None = None,
    make_test_key: Path | None = None,
) -> None:
    """Say what pictures and videos tell of their origin, or sign one with a key of your own (C2PA).

    Args:
        files: pictures, videos, arrays; exit code 1 where one is not the file that its sidecar is about.
        json_: print a JSON list: what `vidiff.read_provenance` returns of each, and `c2pa` where that is installed.
        sign_key: your private key for ES256, PEM (PKCS 8, curve P-256).
        sign_certificate: the chain of certificates that belongs to it, PEM.
        output: the signed copy of the one file.
        make_test_key: folder for a key and a certificate that nobody trusts, for trials.
    """
    if make_test_key is not None:
        from vidiff.video import c2pa

        print("a key and a certificate that nobody trusts:", *c2pa.make_test_key(make_test_key))
        return
    if not files:
        raise UsageError("vidiff provenance FILE: which file?")
    if sign_key or sign_certificate or output:
        if not (sign_key and sign_certificate and output) or len(files) != 1:
            raise UsageError("to sign: one file, --sign_key, --sign_certificate and --output")
        from vidiff.video import c2pa

        c2pa.sign(files[0], output, sign_key, sign_certificate)
        print(f"signed copy in {output}")
        return
    from vidiff.video.c2pa import read_manifest
    from vidiff.video.provenance import read_provenance

    found = [read_provenance(path) | {"c2pa": read_manifest(path)} for path in files]
    print(json.dumps(found, indent=2) if json_ else "\n".join(_lines(one) for one in found))
    if changed := [one["file"] for one in found if one["agrees"] is False]:
        raise RunError(f"{len(changed)} of {len(found)} files do not agree with their sidecar: {', '.join(changed)}")


def _lines(one: dict) -> str:
    """A file's provenance for a person."""
    lines = [f"{one['file']}: {one['verdict']}"]
    if one["comment"]:
        lines.append(f"  in the file: {one['comment']}")
    if beside := one["sidecar"]:
        model = beside["model"]
        lines.append(f"  beside it: {beside['statement']} ({beside['digitalSourceType'].rpartition('/')[2]})")
        lines.append(f"  {beside['date']}, vidiff {beside['vidiff']}, {model.get('family') or 'model unknown'}")
    if one["c2pa"]:
        lines.append(f"  C2PA: {one['c2pa']}")
    return "\n".join(lines)
