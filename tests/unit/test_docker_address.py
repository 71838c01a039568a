"""The address of a Docker host: what ssh is asked for, and what is no address."""

import pytest

from deployment.docker_address import SshAddress, parse
from tests.leaks import leaks


@pytest.mark.parametrize(
    ("url", "address", "by_hand"),
    [
        ("ssh://me@host", SshAddress("me", "host"), "ssh me@host docker version"),
        ("ssh://me@host:2222", SshAddress("me", "host", 2222), "ssh -p 2222 me@host docker version"),
        ("ssh://me@192.0.2.7:22", SshAddress("me", "192.0.2.7", 22), "ssh -p 22 me@192.0.2.7 docker version"),
        ("ssh://me@my_alias", SshAddress("me", "my_alias"), "ssh me@my_alias docker version"),
        ("ssh://me@[2001:db8::1]", SshAddress("me", "2001:db8::1"), "ssh me@2001:db8::1 docker version"),
        ("ssh://me@[::1]:22", SshAddress("me", "::1", 22), "ssh -p 22 me@::1 docker version"),
        ("ssh://me@[fe80::1%25eth0]", SshAddress("me", "fe80::1%eth0"), "ssh me@fe80::1%eth0 docker version"),
        ("ssh://svc$@host", SshAddress("svc$", "host"), "ssh 'svc$@host' docker version"),
    ],
)
def test_what_ssh_is_asked_for(url: str, address: SshAddress, by_hand: str) -> None:
    assert parse(url) == address
    assert address.by_hand("docker version") == by_hand


@pytest.mark.parametrize("url", ["unix:///var/run/docker.sock", "unix:///run/user/1000/docker.sock"])
def test_a_local_socket_has_no_ssh(url: str) -> None:
    assert parse(url) is None


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("tcp://192.0.2.7:2375", "is not supported"),
        ("ssh://host", "names no user"),
        ("ssh://@host", "no user's name"),
        ("ssh://-oProxyCommand=x@host", "no user's name"),
        ("ssh://me@-oProxyCommand=x", "not the name or the address"),
        ("ssh://me@", "not the name or the address"),
        ("ssh://me@host/run/docker.sock", "not the name or the address"),
        ("ssh://me@ho st", "not the name or the address"),
        ("ssh://me@host\n", "not the name or the address"),
        ("ssh://me@host:", "port  is not from 1 to 65535"),
        ("ssh://me@host:0", "port 0 is not"),
        ("ssh://me@host:99999", "port 99999 is not"),
        ("ssh://me@host:22x", "port 22x is not"),
        ("ssh://me@2001:db8::1", "stands in brackets"),
        ("ssh://me@[2001:db8::1", "stands in brackets"),
        ("ssh://me@[host]", "is not an IP address"),
        ("ssh://me@[fe80::1%25-]x", "stands in brackets"),
        ("ssh://me@[fe80::1%25e th]", "is not a zone"),
        ("ssh://me@300.1.1.1", "is not an IP address"),
        ("ssh://me@ho..st", "not the name or the address"),
        ("ssh://me@.host", "not the name or the address"),
        ("ssh://me@" + "a" * 64 + ".example", "not the name or the address"),
        ("ssh://me@host-.example", "not the name or the address"),
        ("ssh://me@0x7f.1", "is not an IP address"),
        ("ssh://me@2130706433", "is not an IP address"),
        ("ssh://me@010.1.1.1", "is not an IP address"),
        ("unix://relative/docker.sock", "is not the absolute path"),
        ("unix:///run/docker.sock?timeout=1", "is not the absolute path"),
        ("unix:///run/docker#1.sock", "is not the absolute path"),
        ("unix:///run/\u202edocker.sock", "is not the absolute path"),
        ("unix:///" + "a" * 107, "at most 107 bytes"),
    ],
)
def test_what_is_no_address_is_refused_in_words(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refusal:
        parse(url)
    assert "\u202e" not in str(refusal.value)


@pytest.mark.parametrize(
    "url",
    ["ssh://me:hunter2@host", "ssh://me:hunter2@@host:22", "ssh://me:hunter2@host:hunter2@x", "tcp://me:hunter2@h"],
)
def test_a_password_is_refused_and_never_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="expected") as refusal:
        parse(url)
    assert leaks(str(refusal.value), "hunter2") == []
