"""Content Credentials (C2PA): who made a video, and how, signed into it and read back. The only part that knows c2pa.

A signature covers every byte of image, audio and metadata. It says that nothing changed since it was made; whether
the signer is who the certificate names is for a list of trusted roots to say.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal

import PIL.Image

from speech2vid import __version__
from speech2vid.errors import ConfigError, MediaError, MissingExtraError, OutputError
from speech2vid.files import PendingFile
from speech2vid.media.containers import CONTAINERS, Output
from speech2vid.media.sources import AnyFile, InMemory, Source, source_of
from speech2vid.media.streams import reason, require_file
from speech2vid.media.synthetic_metadata import TOOL

SIGNABLE = {suffix: each.signed_as for suffix, each in CONTAINERS.items() if each.signed_as is not None}
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
FACTS = "org.speech2vid.facts"  # our own assertion: command, weights
UNTRUSTED = "signingCredential.untrusted"
PARENT = {"title": "the edited video", "relationship": "parentOf", "instance_id": "xmp:iid:edited-video"}
BOX = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")  # C2PA's box in an MP4 file
EXTRA = "pip install 'speech2vid[c2pa]'"
CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
# No byte leaves the machine, whatever a file asks for; no image of the inputs goes into the manifest.
SETTINGS: dict[str, Any] = {
    "version": 1,
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True},
    "builder": {"thumbnail": {"enabled": False}},
}

State = Literal["intact", "tampered", "unchecked"]


@dataclass(frozen=True)
class Claim:
    """What the signature is put under.

    Attributes:
        facts: statements about how it was made, JSON values: command, weights with their hashes.
        source: the video that was edited, the parent in the manifest; None for a video made from stills and audio.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    source: Source | None = None


@dataclass(frozen=True)
class Signer:
    """A certificate and its key, with which videos are signed.

    Attributes:
        cert: PEM file: the signer's certificate first, then those that vouch for it, without the root.
        key: PEM file of the private key, without a password.
        alg: es256, es384, es512, ps256, ps384, ps512 or ed25519; None takes the one that fits the key.
    """

    cert: Path
    key: Path
    alg: str | None = None

    def check(self, outfile: Output) -> None:
        """Sign a small image in memory, so that a certificate that will not do is known before the work.

        Raises:
            MissingExtraError: c2pa-python is not installed.
            ConfigError: certificate or key are missing, expired, not a pair, or not made for this.
            OutputError: the container cannot carry Content Credentials.
        """
        c2pa = _c2pa()
        if outfile.suffix.lower() not in SIGNABLE:
            raise OutputError(
                f"{outfile} cannot be signed: Content Credentials require .mp4 or .mov",
                "choose an output name that ends in .mp4 or .mov",
            )
        image = io.BytesIO()
        PIL.Image.new("RGB", (8, 8)).save(image, "PNG")
        try:
            self._sign(Claim(), "image/png", image, io.BytesIO())
        except c2pa.C2paError as error:
            raise ConfigError(
                f"{self.cert} cannot sign: {reason(error)}",
                "use a certificate chain with digitalSignature and an extended key usage such as emailProtection",
            ) from error

    def sign(self, path: Source, claim: Claim) -> None:
        """Replace ``path`` (.mp4 or .mov, or such a file in memory) by a signed copy, in one step.

        Raises:
            OutputError: it could not be signed. OSError: nor written.
        """
        c2pa = _c2pa()
        try:
            if isinstance(path, InMemory):
                target = io.BytesIO()
                self._sign(claim, SIGNABLE[path.suffix.lower()], path.open("rb"), target)
                path.content = target.getvalue()
                return
            with PendingFile(path) as signed, path.open("rb") as source, signed.path.open("w+b") as written:
                self._sign(claim, SIGNABLE[path.suffix.lower()], source, written)
        except c2pa.C2paError as error:
            hint = "check that there is free space for a second copy of the file"
            raise OutputError(f"the finished video could not be signed: {reason(error)}", hint) from error

    def _sign(self, claim: Claim, mime: str, source: IO[bytes], target: IO[bytes]) -> None:
        c2pa = _c2pa()
        alg, chain, key = self._load()
        context = c2pa.Context.from_dict(SETTINGS)
        with (
            c2pa.Signer.from_info(c2pa.C2paSignerInfo(alg, chain, key, None)) as signer,
            c2pa.Builder(json.dumps(_manifest(claim)), context=context) as builder,
        ):
            if claim.source is not None and _is_mp4(claim.source):
                with claim.source.open("rb") as edited:  # its own credentials, where it has some, are carried along
                    builder.add_ingredient(PARENT, "video/mp4", edited)
            builder.sign(signer, mime, source, target)

    def _load(self) -> tuple[str, bytes, bytes]:
        """Algorithm, chain and key, checked against each other."""
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization as forms

        try:
            chain = x509.load_pem_x509_certificates(_read(self.cert))
        except ValueError as error:
            raise ConfigError(
                f"{self.cert} is not a PEM certificate: {reason(error)}", "use a file of BEGIN CERTIFICATE blocks"
            ) from error
        try:
            key: Any = forms.load_pem_private_key(_read(self.key), password=None)
        except TypeError as error:
            raise ConfigError(
                f"{self.key} is protected by a password", "remove the password: openssl pkey -in KEY -out PLAIN"
            ) from error
        except ValueError as error:
            raise ConfigError(
                f"{self.key} is not a PEM private key", "use a file that begins with BEGIN PRIVATE KEY"
            ) from error
        leaf, public = chain[0], (forms.Encoding.DER, forms.PublicFormat.SubjectPublicKeyInfo)
        if leaf.public_key().public_bytes(*public) != key.public_key().public_bytes(*public):
            raise ConfigError(
                f"{self.key} does not match the certificate {self.cert}",
                "put the signer's certificate first in the chain",
            )
        first, last = leaf.not_valid_before_utc, leaf.not_valid_after_utc
        if not first <= datetime.now(UTC) <= last:
            raise ConfigError(
                f"{self.cert} is valid from {first:%Y-%m-%d} to {last:%Y-%m-%d} only", "renew the certificate"
            )
        plain = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
        return self.alg or _algorithm(key, self.key), b"".join(c.public_bytes(forms.Encoding.PEM) for c in chain), plain


@dataclass(frozen=True)
class Credentials:
    """What the Content Credentials of a file say.

    Attributes:
        state: ``intact``: signed, and unchanged since; ``tampered``; ``unchecked``: c2pa-python is not installed.
        trusted: whether the signer's root is one of those given.
        signer: name and organisation in the certificate.
        tool: what made the claim, with its version.
        source_types: IPTC's names for how the content came about, such as ``trainedAlgorithmicMedia``.
        facts: our own statements (command, weights), empty for other tools.
        problems: C2PA's codes for what failed, that of an unknown signer left out.
    """

    state: State
    trusted: bool = False
    signer: str = ""
    tool: str = ""
    source_types: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def synthetic(self) -> bool:
        """Whether they say that the content was made by a trained model, wholly or in part."""
        return any("trainedalgorithmicmedia" in kind.lower() for kind in self.source_types)


def read_credentials(source: AnyFile, roots: Path | None = None) -> Credentials | None:
    """The Content Credentials of an MP4 or MOV file, or None where there are none.

    Args:
        source: the file. Nothing is fetched from anywhere, even if the file names an address.
        roots: PEM file of the certificates to trust.

    Raises:
        MediaError: the file cannot be read.
        ConfigError: ``roots`` cannot be used.
    """
    path = source_of(source, "video")
    require_file(path)
    if not _has_box(path):
        return None
    try:
        c2pa = _c2pa()
    except MissingExtraError:
        return Credentials("unchecked")
    trust = {} if roots is None else {"trust": {"user_anchors": _read(roots).decode("ascii", "replace")}}
    try:
        context = c2pa.Context.from_dict(SETTINGS | trust)
    except c2pa.C2paError as error:
        raise ConfigError(
            f"{roots} cannot be used as trusted root certificates: {reason(error)}", "use a file of PEM certificates"
        ) from error
    try:
        with path.open("rb") as file, c2pa.Reader("video/mp4", file, context=context) as reader:
            return _parse(json.loads(reader.json()), str(reader.get_validation_state()))
    except c2pa.C2paError as error:  # the box is there, but what is in it cannot be understood
        return Credentials("tampered", problems=(reason(error),))
    except OSError as error:
        raise MediaError(f"{path} cannot be read: {reason(error)}", "check the disk") from error


def _parse(store: Mapping[str, Any], state: str) -> Credentials:
    active = store.get("manifests", {}).get(store.get("active_manifest"), {})
    statements = {each["label"].split("__")[0]: each.get("data", {}) for each in active.get("assertions", [])}
    actions = [
        action
        for label, data in statements.items()
        if label.startswith("c2pa.actions")
        for action in data.get("actions", [])
    ]
    named = [
        action["digitalSourceType"].removeprefix(SOURCE_TYPES) for action in actions if "digitalSourceType" in action
    ]
    signature = active.get("signature_info", {})
    problems = [each["code"] for each in store.get("validation_status", []) if each["code"] != UNTRUSTED]
    generator = (active.get("claim_generator_info") or [{}])[0]
    return Credentials(
        "intact" if state in ("Valid", "Trusted") and not problems else "tampered",
        state == "Trusted",
        ", ".join(filter(None, (signature.get("common_name"), signature.get("issuer")))),
        f"{generator.get('name', '')} {generator.get('version', '')}".strip(),
        tuple(dict.fromkeys(named)),
        statements.get(FACTS, {}),
        tuple(dict.fromkeys(problems)),
    )


def _manifest(claim: Claim) -> dict[str, Any]:
    agent = {"name": TOOL, "version": __version__}
    if claim.source is None:
        kind, before, parents = "trainedAlgorithmicMedia", [], []
    else:
        kind = "compositeWithTrainedAlgorithmicMedia"
        before = [{"action": "c2pa.opened", "parameters": {"ingredientIds": [PARENT["instance_id"]]}}]
        parents = [] if _is_mp4(claim.source) else [PARENT]  # that of an MP4 is read from the file: `_sign`
    verb = "c2pa.created" if claim.source is None else "c2pa.edited"
    action = {"action": verb, "digitalSourceType": SOURCE_TYPES + kind, "softwareAgent": agent}
    return {
        "claim_generator_info": [agent],
        "ingredients": parents,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [*before, action]}},
            {"label": FACTS, "data": dict(claim.facts)},
        ],
    }


def _is_mp4(path: Source) -> bool:
    with path.open("rb") as file:
        return file.read(8)[4:] == b"ftyp"


def _algorithm(key: Any, path: Path) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in CURVES:
        return CURVES[key.curve.name]
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    raise ConfigError(
        f"{path} has a key type that C2PA does not support", "use a P-256, P-384, P-521, RSA or Ed25519 key"
    )


def _has_box(path: Source) -> bool:
    """Whether one of the file's outer boxes is C2PA's."""
    with path.open("rb") as file:
        size, at = file.seek(0, io.SEEK_END), 0
        while at + 8 <= size:
            file.seek(at)
            head = file.read(32)
            length, kind = int.from_bytes(head[:4], "big"), head[4:8]
            start = 8
            if length == 1:
                length, start = int.from_bytes(head[8:16], "big"), 16
            if kind == b"uuid" and head[start:].startswith(BOX[: 32 - start]):
                return True
            if length < start or not kind.isascii():
                return False
            at += length
    return False


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {reason(error)}", "check the path and its permissions") from error


def _c2pa() -> Any:
    try:
        import c2pa
    except ImportError as error:
        raise MissingExtraError(
            "Content Credentials require the extra `c2pa`, which is not installed", EXTRA
        ) from error
    return c2pa
