"""Which addresses are public, with those that Python's own tables get wrong."""

import pytest

from agent.addresses import is_public, is_public_or_private

REFUSED_EVERYWHERE = [
    "0.0.0.0",
    "0.0.0.1",
    "169.254.169.254",
    "169.254.1.1",
    "168.63.129.16",  # Azure's metadata, on an address that looks public
    "100.100.100.200",
    "192.0.0.192",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "192.0.2.1",
    "198.18.0.1",
    "192.88.99.1",
    "::",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "fe80::1%lo",
    "2606:4700::1111%1",
    "ff02::1",
    "fec0::1",
    "5f00::1",
    "100::1",
    "2001:db8::1",
    "3fff::1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::7f00:1%1",
    "64:ff9b:1::7f00:1",
    "2002:a9fe:a9fe::",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "not an address",
    "",
    "127.1",
    "0x7f.1",
]
PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "::1",
    "fd12:3456::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2002:c0a8:101::1",
]
PUBLIC = [
    "1.1.1.1",
    "93.184.215.14",
    "172.32.0.1",
    "2606:4700:4700::1111",
    "2a00:1450:4001::1",
    "::ffff:1.1.1.1",
    "64:ff9b::101:101",
    "2002:101:101::1",
]


@pytest.mark.parametrize("address", REFUSED_EVERYWHERE)
def test_nobody_may_reach_it(address: str) -> None:
    assert not is_public(address)
    assert not is_public_or_private(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_only_a_trusted_host_may_be_there(address: str) -> None:
    assert not is_public(address)
    assert is_public_or_private(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_everybody_may_reach_it(address: str) -> None:
    assert is_public(address)
    assert is_public_or_private(address)
