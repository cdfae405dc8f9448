"""Encrypting and decrypting the values of secrets: PKCS#1 OAEP with SHA-1, in chunks, base64. Keys are PEM text."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from trunkline.config.errors import Refused
from trunkline.config.fragment import ENCRYPTED as ENCRYPTED

KEY_BITS = 4096
_OVERHEAD_BYTES = 2 * hashes.SHA1.digest_size + 2


def _oaep() -> padding.OAEP:
    sha1 = hashes.SHA1()
    return padding.OAEP(mgf=padding.MGF1(sha1), algorithm=sha1, label=None)


def create_key() -> str:
    """A new private key of a project, PEM (PKCS#8, not encrypted)."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def public_key(private_pem: str, password: str | None = None) -> str:
    """The public half of a private key, PEM: what users encrypt with."""
    return (
        _private(private_pem, password)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def _private(pem: str, password: str | None) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(pem.encode(), password.encode() if password else None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise Refused("The key of a project must be an RSA key")
    return key


def encrypt(plaintext: bytes | str, public_pem: str) -> tuple[str, ...]:
    """The chunks of a value; a 4096-bit key takes 470 bytes (3,760 bits) a chunk."""
    data = plaintext.encode() if isinstance(plaintext, str) else plaintext
    key = serialization.load_pem_public_key(public_pem.encode())
    if not isinstance(key, rsa.RSAPublicKey):
        raise Refused("The key of a project must be an RSA key")
    size = key.key_size // 8 - _OVERHEAD_BYTES
    chunks = [data[i : i + size] for i in range(0, len(data), size)] or [b""]
    return tuple(base64.b64encode(key.encrypt(chunk, _oaep())).decode() for chunk in chunks)


def decrypt_data(private_pem: str, chunks: Sequence[str], password: str | None = None) -> str:
    """The value of encrypted chunks. Raises Refused if the key does not fit."""
    key = _private(private_pem, password)
    try:
        return b"".join(key.decrypt(base64.b64decode(c), _oaep()) for c in chunks).decode()
    except ValueError:
        raise Refused(
            "The secret cannot be decrypted with the project's key",
            mend="Encrypt it again with the public key of the project that it lies in.",
        ) from None


def reveal(data: Any, private_pem: str, password: str | None = None) -> Any:
    """The data of a secret (as SecretRef.data holds it) with every encrypted leaf in the clear."""
    if isinstance(data, dict):
        if set(data) == {ENCRYPTED}:
            return decrypt_data(private_pem, data[ENCRYPTED], password)
        return {k: reveal(v, private_pem, password) for k, v in data.items()}
    if isinstance(data, list):
        return [reveal(v, private_pem, password) for v in data]
    return data


def yaml_of(chunks: Sequence[str], name: str = "") -> str:
    """The chunks as YAML to paste below `data:`."""
    head = f"{name}: " if name else ""
    lines = [f"{head}!encrypted/pkcs1-oaep"]
    for chunk in chunks:
        pieces = [chunk[i : i + 79] for i in range(0, len(chunk), 79)]
        lines.append("  - " + pieces[0])
        lines.extend("    " + piece for piece in pieces[1:])
    return "\n".join(lines) + "\n"
