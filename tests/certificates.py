"""Certificates that a test makes for a server of its own, by the `openssl` program."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

NEEDS_OPENSSL = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")


def a_certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """For a server on 127.0.0.1, and the file by which to know it."""
    key, certificate = certificate_files(folder)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    return tls, certificate


def certificate_files(folder: Path) -> tuple[Path, Path]:
    """The key of a server on 127.0.0.1, and its certificate, which vouches for itself."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    made = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1"
    subprocess.run(
        ["openssl", *made.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    return key, certificate
