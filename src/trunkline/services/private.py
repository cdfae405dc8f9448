"""What a build must know and nobody may read: secrets, keys, secret data of its parents. In memory only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from trunkline.config import FrozenPlaybook, SecretRef
from trunkline.config.secrets import ENCRYPTED, decrypt_data
from trunkline.executor import BuildPrivate, BuildRequest
from trunkline.services.keystore import SECRETS, SSH, Keystore
from trunkline.store import Connection, builds


async def private_of(
    conn: Connection, keystore: Keystore, request: BuildRequest, parents: Sequence[str]
) -> BuildPrivate:
    """Decrypt what the build's playbooks may see. Raises ValueError for what does not decrypt."""
    secrets: dict[str, dict[str, Any]] = {}
    exposed: list[str] = []
    job = request.job
    for phase, playbooks in (("pre", job.pre_playbooks), ("run", job.playbooks), ("post", job.post_playbooks)):
        for index, playbook in enumerate(playbooks):
            values = await _of_playbook(conn, keystore, playbook, exposed)
            if values:
                secrets[f"{phase}:{index}"] = values
    data: dict[str, Any] = {}
    for sealed in await builds.secret_data(conn, parents):
        data |= msgspec.json.decode(keystore.open(sealed))
    return BuildPrivate(
        secrets=secrets,
        exposed=tuple(exposed),
        secret_parent_data=data,
        ssh_keys=tuple(await _ssh_keys(conn, keystore, request)),
    )


async def _of_playbook(
    conn: Connection, keystore: Keystore, playbook: FrozenPlaybook, exposed: list[str]
) -> dict[str, Any]:
    values = {}
    for secret in playbook.secrets:
        private, _ = await keystore.pair(conn, f"{secret.connection}/{secret.project}", SECRETS)
        values[secret.alias] = _decrypted(secret, private, exposed)
    return values


def _decrypted(secret: SecretRef, private: str, exposed: list[str]) -> Any:
    def walk(value: Any) -> Any:
        if isinstance(value, dict) and set(value) == {ENCRYPTED}:
            text = decrypt_data(private, value[ENCRYPTED])
            exposed.append(text)
            return text
        if isinstance(value, dict):
            return {key: walk(one) for key, one in value.items()}
        if isinstance(value, list):
            return [walk(one) for one in value]
        return value

    return walk(secret.data)


async def _ssh_keys(conn: Connection, keystore: Keystore, request: BuildRequest) -> list[str]:
    """The tenant's key; in post-review pipelines the project's as well. Keys nobody asked for are not made."""
    from trunkline.store import keys

    scopes = [f"tenant:{request.tenant}"]
    if request.post_review:
        scopes.append(f"{request.change.connection}/{request.change.project}")
    found = []
    for scope in scopes:
        if await keys.get(conn, scope, SSH) is not None:
            found.append((await keystore.pair(conn, scope, SSH))[0])
    return found
