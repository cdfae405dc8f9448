"""Reading host keys from real SSH servers, good and bad."""

from __future__ import annotations

import asyncio

import asyncssh
import pytest

from trunkline.clouds import NotReachable, scan_host_keys


def key(algorithm: str = "ssh-ed25519") -> asyncssh.SSHKey:
    return asyncssh.generate_private_key(algorithm)


def public(it: asyncssh.SSHKey) -> str:
    return " ".join(it.export_public_key().decode().split()[:2])


def test_all_kinds_of_keys_are_read():
    async def scenario() -> None:
        keys = [key(), key("ecdsa-sha2-nistp256"), key("ssh-rsa")]
        async with asyncssh.listen("127.0.0.1", 0, server_host_keys=keys) as server:
            found = await scan_host_keys("127.0.0.1", server.get_port(), timeout_s=20)
        assert set(found) == {public(k) for k in keys}

    asyncio.run(scenario())


def test_a_server_with_one_kind_of_key_is_enough():
    async def scenario() -> None:
        only = key("ecdsa-sha2-nistp256")
        async with asyncssh.listen("127.0.0.1", 0, server_host_keys=[only]) as server:
            assert await scan_host_keys("127.0.0.1", server.get_port(), timeout_s=20) == [public(only)]

    asyncio.run(scenario())


def test_keys_that_change_once_are_read_again():
    async def scenario() -> None:
        first, second = key(), key()
        holder = await asyncssh.listen("127.0.0.1", 0, server_host_keys=[first])
        port = holder.get_port()

        async def change() -> None:
            await asyncio.sleep(0.3)
            holder.close()
            await holder.wait_closed()
            await asyncssh.listen("127.0.0.1", port, server_host_keys=[second], reuse_address=True)

        task = asyncio.create_task(change())
        found = await scan_host_keys("127.0.0.1", port, timeout_s=20, settle_s=0.8)
        await task
        assert found == [public(second)]

    asyncio.run(scenario())


def test_silence_is_reported_with_what_was_seen():
    async def scenario() -> None:
        async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        mute = await asyncio.start_server(hold, "127.0.0.1", 0)
        port = mute.sockets[0].getsockname()[1]
        with pytest.raises(NotReachable, match="did not get ready within 1 s"):
            await scan_host_keys("127.0.0.1", port, timeout_s=1)
        mute.close()

    asyncio.run(scenario())
