"""C2PA manifests with the user's own key, by `c2pa-python` (extra `c2pa`): a signature over the file and its origin.

Who trusts the certificate is the reader's affair; a test key is trusted by nobody. No conformance is claimed.
"""

from __future__ import annotations

import importlib.util
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from vidiff import __version__
from vidiff.errors import RunError, UsageError, first_line
from vidiff.files import check_writable, replacing
from vidiff.video.provenance import MADE, read_provenance

SIGNED = (".mp4", ".mov", ".png", ".gif")
NEEDED = "needs c2pa-python and cryptography: pip install 'vidiff[c2pa]'"


def _library(purpose: str):
    if importlib.util.find_spec("c2pa") is None or importlib.util.find_spec("cryptography") is None:
        raise UsageError(f"{purpose} {NEEDED}")
    import c2pa

    return c2pa


def sign(path: str | Path, output: str | Path, key: str | Path, certificate: str | Path) -> Path:
    """Write a copy of a file with a C2PA manifest that is signed by ES256; returns `output`.

    The manifest holds one action, `c2pa.created` with the IPTC term of the file's sidecar, and vidiff as its program.

    Args:
        path: a .mp4, .mov, .png or .gif that this suite wrote; its sidecar or comment says so.
        output: another name of the same suffix.
        key: the private key, PEM (PKCS 8, curve P-256).
        certificate: the chain that belongs to it, PEM, the key's own certificate first.

    Raises:
        UsageError: a file is not there, or none that is signed. RunError: the key does not fit, or the library refuses.
    """
    c2pa, path, output = _library("signing"), Path(path), Path(output)
    said = read_provenance(path)
    if path.suffix.lower() not in SIGNED or output.suffix.lower() != path.suffix.lower():
        raise UsageError(f"{output}: signed are {', '.join(SIGNED)}, and the copy keeps the suffix")
    if output.exists() and output.samefile(path):
        raise UsageError(f"{output}: the output would replace the input")
    if not said["marked"] and said["sidecar"] is None:
        raise UsageError(f"{path}: nothing says that this suite made it, so that its origin cannot be signed")
    texts = []
    for name in (key, certificate):
        if not Path(name).is_file():
            raise UsageError(f"{name}: no such file")
        texts.append(Path(name).read_bytes())
    check_writable(output)
    source_type = (said["sidecar"] or {}).get("digitalSourceType", MADE)
    action = {"action": "c2pa.created", "digitalSourceType": source_type}
    manifest = {
        "claim_generator_info": [{"name": "vidiff", "version": __version__}],
        "title": output.name,
        "assertions": [{"label": "c2pa.actions", "data": {"actions": [action]}}],
    }
    try:
        signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", texts[1], texts[0], None))
        with replacing(output) as temporary:
            temporary.unlink()  # the library makes its own
            c2pa.Builder(json.dumps(manifest)).sign_file(path, temporary, signer)
    except c2pa.C2paError as error:
        raise RunError(f"{path}: could not be signed with {key} ({first_line(error)})") from error
    return output


def read_manifest(path: str | Path) -> str | None:
    """What a file's C2PA manifest says, in one line; None where there is none, or the library is not installed."""
    if importlib.util.find_spec("c2pa") is None:
        return None
    import c2pa

    try:
        with c2pa.Reader(str(path)) as reader:
            content, state = json.loads(reader.json()), reader.get_validation_state()
    except (c2pa.C2paError, OSError, ValueError):
        return None
    active = content.get("manifests", {}).get(content.get("active_manifest"), {})
    issuer = active.get("signature_info", {}).get("issuer", "unknown")
    codes = sorted({one.get("code", "") for one in content.get("validation_status", [])})
    return f"{state}, signed by {issuer}" + (f" ({', '.join(codes)})" if codes else "")


def make_test_key(folder: str | Path) -> list[Path]:
    """Write `key.pem` and `certificate.pem` (a chain of two) for trials; returns the paths.

    Raises:
        UsageError: cryptography is missing, or the folder holds such files already.
    """
    _library("a test key")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    paths = [Path(folder) / name for name in ("key.pem", "certificate.pem")]
    if there := [p for p in paths if p.exists()]:
        raise UsageError(f"{there[0]} exists already: keys are not overwritten")

    def name(text: str) -> x509.Name:
        organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "vidiff test, trusted by nobody")
        return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, text)])

    root, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    now, chain = datetime.now(UTC) - timedelta(minutes=5), []
    for subject, key, is_root in (("test signer", own, False), ("test root", root, True)):
        usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
        usage |= dict(encipher_only=False, decipher_only=False, crl_sign=is_root, key_cert_sign=is_root)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("test root"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + timedelta(days=365))
            .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(digital_signature=not is_root, **usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False)
        )
        if not is_root:
            purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
            builder = builder.add_extension(purpose, critical=False)
        chain.append(builder.sign(root, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    secret = own.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for path, content in zip(paths, (secret, b"".join(chain))):
        with replacing(path) as temporary:
            os.chmod(temporary, 0o600)
            temporary.write_bytes(content)
    return paths
