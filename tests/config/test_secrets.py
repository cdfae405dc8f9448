"""Secrets: what is encrypted for a project can be read with its key only."""

import pytest

from trunkline.config.errors import Refused
from trunkline.config.secrets import create_key, decrypt_data, encrypt, public_key, reveal, yaml_of
from trunkline.config.syntax import read_items


@pytest.fixture(scope="module")
def key() -> str:
    return create_key()


def test_a_value_comes_back(key):
    chunks = encrypt("päss", public_key(key))
    assert len(chunks) == 1
    assert decrypt_data(key, chunks) == "päss"


def test_a_long_value_is_cut_into_chunks_of_3760_bits(key):
    text = "x" * 1000
    chunks = encrypt(text, public_key(key))
    assert len(chunks) == 3
    assert decrypt_data(key, chunks) == text


def test_the_yaml_to_paste_reads_as_the_same_chunks(key):
    chunks = encrypt("word" * 200, public_key(key))
    pasted = "".join("      " + line + "\n" for line in yaml_of(chunks, "password").splitlines())
    items, _ = read_items(f"- secret:\n    name: s\n    data:\n{pasted}")
    assert items[0].body["data"]["password"].chunks == chunks


def test_all_leaves_are_revealed(key):
    data = {"user": "me", "list": [{"!encrypted/pkcs1-oaep": list(encrypt("a", public_key(key)))}]}
    assert reveal(data, key) == {"user": "me", "list": ["a"]}


def test_another_key_is_refused_with_a_mend(key):
    with pytest.raises(Refused, match="cannot be decrypted") as refused:
        decrypt_data(create_key(), encrypt("a", public_key(key)))
    assert "public key" in refused.value.mend
