"""Certificates for tests: a root, and signers under it. Made anew for every run; nobody trusts them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """PEM files: the signer's certificate with its chain, its key, and the root that vouches for it."""

    cert: Path
    key: Path
    root: Path


def make_pair(
    folder: Path, kind: str = "p256", *, days: tuple[int, int] = (-1, 30), purpose: bool = True, password: bytes = b""
) -> Pair:
    """Write a chain of two into ``folder``: a new root, and a signer it vouches for."""
    folder.mkdir(parents=True, exist_ok=True)
    root_key = ec.generate_private_key(ec.SECP256R1())
    key = _key(kind)
    root = _certificate("Test root", root_key, "Test root", root_key, authority=True)
    leaf = _certificate("Ada Signer", key, "Test root", root_key, authority=False, days=days, purpose=purpose)
    pem = serialization.Encoding.PEM
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    pair = Pair(folder / "cert.pem", folder / "key.pem", folder / "root.pem")
    pair.cert.write_bytes(leaf.public_bytes(pem) + root.public_bytes(pem))
    pair.key.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, hidden))
    pair.root.write_bytes(root.public_bytes(pem))
    return pair


def _key(kind: str) -> Any:
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    curve = {"p256": ec.SECP256R1, "p384": ec.SECP384R1, "p521": ec.SECP521R1, "k1": ec.SECP256K1}[kind]
    return ec.generate_private_key(curve())


def _certificate(
    name: str,
    key: Any,
    issuer: str,
    issuer_key: Any,
    *,
    authority: bool,
    days: tuple[int, int] = (-1, 30),
    purpose: bool = True,
) -> x509.Certificate:
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + days[0] * DAY)
        .not_valid_after(now + days[1] * DAY)
        .add_extension(x509.BasicConstraints(authority, None), True)
        .add_extension(
            x509.KeyUsage(digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, **usage), True
        )
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )
    if purpose and not authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
    return builder.sign(issuer_key, hashes.SHA256())


def _name(common: str) -> x509.Name:
    parts = ((NameOID.COMMON_NAME, common), (NameOID.ORGANIZATION_NAME, "Test House"), (NameOID.COUNTRY_NAME, "CH"))
    return x509.Name([x509.NameAttribute(*part) for part in parts])
