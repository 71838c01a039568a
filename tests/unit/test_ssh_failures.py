"""Why an ssh gave no answer of Docker's: the texts of OpenSSH 9.2, of shells and of Docker's client."""

import pytest

from deployment.docker_address import SshAddress
from healthcheck.ssh_failures import CAUSES, LONGEST, NO_DOCKER, SILENT, cleaned, explain

ADDRESS = SshAddress("me", "host")

CHANGED = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
Offending ED25519 key in /home/me/.ssh/known_hosts:7
Host key for host has changed and you have requested strict checking.
Host key verification failed.
"""

REVOKED = """\
@       WARNING: REVOKED HOST KEY DETECTED!               @
The ED25519 host key for host is marked as revoked.
ED25519 host key for host was revoked and you have requested strict checking.
Host key verification failed.
"""

SAID = [
    (CHANGED, 255, "the host's key is another one"),
    (REVOKED, 255, "a key that is marked as revoked"),
    ("unix_listener: cannot bind to path /no/cm.YUKM: No such file or directory\n", 255, "ssh's own configuration"),
    ("bind 203.0.113.7: Cannot assign requested address\n", 255, "ssh's own configuration"),
    ("Error: unrecognized command `podman system dial-stdio`\n", 125, "is Podman"),
    ("Error: unable to connect to Podman socket: Get \"http://d/_ping\": dial unix /run/podman/podman.sock: connect: "
     "no such file or directory\n", 125, "is Podman"),
    ("", None, "cannot be reached, or its login"),
    ("No ED25519 host key is known for host and you have requested strict checking.\n", 255, "key is not known here"),
    ("Host key verification failed.\r\n", 255, "the host's key is not known here"),
    ("ssh: Could not resolve hostname host: Name or service not known\r\n", 255, "cannot be resolved"),
    ("/home/me/.ssh/config: line 3: Bad configuration option: prot\n", 255, "ssh's own configuration"),
    ("Bad owner or permissions on /home/me/.ssh/config\n", 255, "ssh's own configuration"),
    ("Cannot execute command-line and remote command.\n", 255, "ssh's own configuration"),
    ("sign_and_send_pubkey: signing failed for ED25519 \"key\" from agent: agent refused operation\r\n"
     "me@host: Permission denied (publickey).\r\n", 255, "the ssh agent does not sign"),
    ("Received disconnect from host port 22:2: Too many authentication failures\n", 255, "offered more keys"),
    ("@   WARNING: UNPROTECTED PRIVATE KEY FILE!   @\nLoad key: bad permissions\n", 255, "others can read"),
    ("me@host: Permission denied (publickey,password).\r\n", 255, "the host does not accept the login"),
    ("permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock\n", 1,
     "the user may not use Docker"),
    ("failed to open the raw stream connection: dial unix /var/run/docker.sock: connect: permission denied\n", 1,
     "the user may not use Docker"),
    ("docker: 'dial-stdio' is not a docker command.\nSee 'docker --help'\n", 1, "older than 18.09"),
    ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n", 1,
     "Docker does not run there"),
    ("dial unix /var/run/docker.sock: connect: no such file or directory\n", 1, "Docker does not run there"),
    ("Unable to negotiate with host port 22: no matching host key type found.\n", 255, "no method"),
    ("kex_exchange_identification: Connection closed by remote host\r\n", 255, "before the login"),
    ("ssh: connect to host host port 22: Connection refused\r\n", 255, "nothing listens"),
    ("ssh: connect to host host port 22: Connection timed out\r\n", 255, "cannot be reached"),
    ("ssh: connect to host host port 22: No route to host\r\n", 255, "cannot be reached"),
    ("Timeout, server host not responding.\r\n", 255, "cannot be reached"),
    ("bash: line 1: /usr/bin/docker: Permission denied\n", 126, "may not run it"),
    ("channel 0: open failed: connect failed: Connection refused\r\nstdio forwarding failed\r\n"
     "Connection closed by UNKNOWN port 65535\r\n", 255, "does not lead to it"),
    ("bash: line 1: docker: command not found\n", 127, "does not find `docker`"),
    ("sh: 1: docker: not found\n", 127, "does not find `docker`"),
    ("zsh:1: command not found: docker\n", 127, "does not find `docker`"),
    ("fish: Unknown command: docker\n", 127, "does not find `docker`"),
    ("csh: docker: Befehl nicht gefunden\n", 127, "does not find `docker`"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "code", "meaning"), SAID, ids=[meaning for _, _, meaning in SAID])
def test_each_failure_has_its_meaning_its_words_and_a_command_to_try(said: str, code: int | None, meaning: str) -> None:
    text = explain(ADDRESS, said=said, code=code)
    assert meaning in text
    assert cleaned(said) in text
    assert "`ssh me@host docker version`" in text


def test_every_cause_is_tried_here() -> None:
    meanings = {cause.meaning for cause in (*CAUSES, NO_DOCKER, SILENT)}
    assert {meaning for meaning in meanings if any(part in meaning for _, _, part in SAID)} == meanings


def test_a_revoked_key_is_not_to_be_added() -> None:
    assert "added" not in explain(ADDRESS, said=REVOKED, code=255)


def test_what_nobody_has_met_is_told_as_it_is() -> None:
    text = explain(ADDRESS, said="Der Wirt ist krank.\n", code=255)
    assert text.startswith(
        "ssh host ended without an answer of Docker's (exit code 255), and said: Der Wirt ist krank.;"
    )
    assert "and said nothing" in explain(ADDRESS, said="", code=1)


def test_a_banner_before_the_reason_does_not_hide_it() -> None:
    banner = "Authorised use only.\n** WARNING: connection is not using a post-quantum key exchange algorithm.\n"
    assert "does not accept the login" in explain(
        ADDRESS, said=f"{banner}me@host: Permission denied (publickey).\n", code=255
    )


@pytest.mark.parametrize(
    "text", ["\x1b[31mred\x1b[0m", "a\rb", "\u202eright to left", "\x9b2J", "two\nlines", "x\u2028y"]
)
def test_what_was_said_is_shown_as_text(text: str) -> None:
    assert explain(ADDRESS, said=text, code=255).isprintable()
    assert explain(ADDRESS, said="", code=None, printed=text).isprintable()


def test_of_a_long_text_the_end_is_shown() -> None:
    text = "debug1: something\n" * 1000 + "me@host: Permission denied (publickey)."
    assert cleaned(text).endswith("Permission denied (publickey).")
    assert len(cleaned(text)) < LONGEST + 10
