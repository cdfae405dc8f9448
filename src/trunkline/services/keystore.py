"""Keys that the installation makes for projects and tenants: for secrets, and for SSH.

Private keys are encrypted with the keystore's password before they reach the store.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from trunkline.store import Connection, keys

SECRETS, SSH = "secrets", "ssh"
SECRETS_BITS, SSH_BITS = 4096, 3072


class Keystore:
    """Encrypts and decrypts with one password; makes keys when they are first asked for."""

    def __init__(self, password: str) -> None:
        derived = hashlib.scrypt(password.encode(), salt=b"trunkline-keystore", n=2**14, r=8, p=1, dklen=32)
        self._box = Fernet(base64.urlsafe_b64encode(derived))

    def seal(self, data: bytes) -> bytes:
        return self._box.encrypt(data)

    def open(self, sealed: bytes) -> bytes:
        """Raises ValueError when the password is not the one that sealed it."""
        try:
            return self._box.decrypt(sealed)
        except InvalidToken as problem:
            raise ValueError("[keystore] password is not the one that the stored keys were encrypted with") from problem

    async def pair(self, conn: Connection, scope: str, kind: str) -> tuple[str, str]:
        """(private PEM, public text) of `scope` ("connection/project" or "tenant:NAME"); made if need be.

        Public text is PEM for secrets and an authorized_keys line for ssh.
        """
        row = await keys.get(conn, scope, kind)
        if row is None:
            private, public = await asyncio.to_thread(_make, kind)
            row = await keys.put_if_absent(conn, scope, kind, self.seal(private.encode()), public)
        return self.open(bytes(row["private"])).decode(), row["public"]


def _make(kind: str) -> tuple[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=SECRETS_BITS if kind == SECRETS else SSH_BITS)
    private_format = serialization.PrivateFormat.PKCS8 if kind == SECRETS else serialization.PrivateFormat.OpenSSH
    private = key.private_bytes(serialization.Encoding.PEM, private_format, serialization.NoEncryption())
    if kind == SECRETS:
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    else:
        public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private.decode(), public.decode()
