"""What the sandbox asks of its machine: packages, mirrors, pip's settings, addresses, and whose object is whose."""

import base64
import json
import os
import stat
import subprocess
import sys
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from deployment.description import Mode, SecondFactor
from deployment.errors import IbgwError
from sandbox import base_image, docker_engine, images, packages
from sandbox.environment import free_index
from sandbox.images import ContextFile
from sandbox.internet import Internet
from sandbox.secrets_manager import Content, Login, Vault, generate


def login(mode: Mode, second_factor: SecondFactor) -> Login:
    name = f"ibgw/{mode.value}/main"
    return Login(secret_id=name, region="us-east-1", mode=mode, second_factor=second_factor)


PAPER = login(Mode.PAPER, SecondFactor.NONE)
LIVE = login(Mode.LIVE, SecondFactor.PUSH)


def quiet(_: str) -> None:
    """Nobody listens."""


# Packages


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for apt-get that writes down how it was called, and whether services could start meanwhile."""
    log = tmp_path / "apt.log"
    policy = tmp_path / "policy-rc.d"
    fake = tmp_path / "bin" / "apt-get"
    fake.parent.mkdir()
    fake.write_text(
        f'#!/bin/sh\necho "$@" >> {log}\nif [ -x {policy} ]; then {policy}; echo "policy $?" >> {log}; fi\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")
    monkeypatch.setattr(packages, "POLICY", policy)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return log


def test_all_missing_packages_are_installed_in_one_go_without_starting_services(apt: Path) -> None:
    said: list[str] = []
    packages.install(["debootstrap", "docker.io"], said.append)
    assert apt.read_text().splitlines() == [
        "-o DPkg::Lock::Timeout=300 -qq update",
        "-o DPkg::Lock::Timeout=300 -qq install -y --no-install-recommends debootstrap docker.io",
        "policy 101",  # invoke-rc.d(8): 101, action forbidden by policy
    ]
    assert not packages.POLICY.exists()
    assert said == ["installing debootstrap, docker.io (1 to 2 minutes)"]


def test_a_policy_that_was_there_stays(apt: Path) -> None:
    packages.POLICY.write_text("#!/bin/sh\nexit 104\n")
    packages.install(["debootstrap"], quiet)
    assert packages.POLICY.read_text() == "#!/bin/sh\nexit 104\n"


def test_without_root_the_command_to_run_is_said(apt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(IbgwError, match=r"run as root, or have them installed: apt-get install debootstrap docker\.io"):
        packages.install(["debootstrap", "docker.io"], quiet)
    assert not apt.exists()


def test_only_missing_commands_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "SYSTEM_PATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "ip").write_text("")
    (tmp_path / "ip").chmod(0o755)
    assert packages.missing(packages.COMMANDS) == ["debootstrap", "docker-registry", "iptables", "openssh-client"]


# The base image


def test_the_mirror_is_the_machines_own_and_not_its_security_archive() -> None:
    listed = """\
http://mirror.example/debian-security/ bookworm-security
http://mirror.example/debian/ bookworm-updates
http://mirror.example/debian/ bookworm
"""
    assert base_image.mirror_of(listed, "bookworm") == "http://mirror.example/debian/"
    assert base_image.mirror_of(listed, "trixie") is None


def test_pips_settings_that_mean_something_in_a_container_are_taken_over() -> None:
    """`pip config list` prints this form; the environment's value wins over the files'."""
    listed = """\
global.cert='/opt/corporate.pem'
global.find-links='/opt/wheels'
global.index-url='https://mirror.example/simple'
global.trusted-host='mirror.example\\nother.example'
:env:.default-timeout='180'
:env:.index-url='https://nearer.example/simple'
"""
    assert base_image.render_pip_config(listed, quiet) == (
        "[global]\n"
        "cert = /etc/ssl/certs/ca-certificates.crt\n"
        "index-url = https://nearer.example/simple\n"
        "timeout = 180\n"
        "trusted-host = mirror.example other.example\n"
    )


def test_a_proxy_of_the_environment_is_taken_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(packages, "SYSTEM_PATH", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    assert "proxy = http://proxy.example:3128\n" in base_image.pip_config(quiet)


def test_a_pip_that_does_not_work_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "pip3"
    broken.write_text("#!/bin/sh\necho no such version\nexit 127\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    said: list[str] = []
    assert base_image.pip_config(said.append) == "[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n"
    assert "no such version" in said[0]


def test_a_password_for_pip_never_gets_into_an_image() -> None:
    said: list[str] = []
    text = base_image.render_pip_config("global.index-url='https://me:hunter2@mirror.example/simple'", said.append)
    assert text == "[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n"
    assert said == ["pip's index-url holds credentials, so it is not copied into the base image"]


# Images


def test_an_images_tag_changes_with_content_mode_name_and_argument() -> None:
    plain = {"run": ContextFile(b"x")}
    tags = {
        images.digest(plain, {"A": "1"}),
        images.digest({"run": ContextFile(b"y")}, {"A": "1"}),
        images.digest({"run": ContextFile(b"x", executable=True)}, {"A": "1"}),
        images.digest({"walk": ContextFile(b"x")}, {"A": "1"}),
        images.digest(plain, {"A": "2"}),
    }
    assert len(tags) == 5
    assert images.digest(plain, {"A": "1"}) in tags


def test_a_context_leaves_out_what_tools_leave_behind(tmp_path: Path) -> None:
    for name in ("Dockerfile", "app/run.py", "app/__pycache__/run.cpython-311.pyc", ".cache/x"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (tmp_path / "app" / "run.py").chmod(0o755)
    assert images.folder_context(tmp_path) == {
        "Dockerfile": ContextFile(b"x", executable=False),
        "app/run.py": ContextFile(b"x", executable=True),
    }


# Addresses


def test_the_default_sandbox_has_the_documented_address() -> None:
    internet = Internet("ibgw-sandbox", 0)
    assert (internet.host_address, internet.broker) == ("198.51.100.1", "198.51.100.2")
    assert internet.namespace == "ibgw-sandbox-internet"


def test_no_two_sandboxes_share_addresses_or_interfaces() -> None:
    every = [Internet("p", index) for index in range(64)]
    assert len({internet.broker for internet in every} | {internet.host_address for internet in every}) == 128
    assert len({internet.host_link for internet in every}) == 64
    assert all(internet.subnet.subnet_of(IPv4Network("198.51.100.0/24")) for internet in every)
    assert all(len(name) <= 15 for internet in every for name in (internet.host_link, internet.inner_link)), (
        "the kernel's IFNAMSIZ is 16 with its final zero"
    )


def test_a_test_run_takes_the_first_free_index_and_never_the_default_one(tmp_path: Path) -> None:
    assert free_index(lambda index: index in (1, 2), locks=tmp_path) == 3
    with pytest.raises(IbgwError, match="all 64 sandboxes"):
        free_index(lambda index: True, locks=tmp_path)


def test_an_index_is_kept_for_the_process_that_has_it_and_no_longer(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sandbox.environment import free_index; "
        "print(free_index(lambda index: False, locks=Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    assert free_index(lambda index: False, locks=tmp_path) == 1
    for _ in range(2):
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "2\n"


# Whose object is whose


@pytest.mark.parametrize(
    ("name", "labels", "ours"),
    [
        ("ibgw-sandbox-paper-main", {"ibgw.prefix": "ibgw-sandbox"}, True),
        ("anything", {"ibgw.prefix": "ibgw-sandbox"}, True),
        ("anything", {"ibgw.sandbox": "ibgw-sandbox"}, True),
        ("ibgw-sandbox-paper-main-settings", None, True),
        ("ibgw-sandbox-paper-main-settings", {}, True),
        ("ibgw-paper-main-settings", {"ibgw.prefix": "ibgw"}, False),
        ("ibgw-paper-main-settings", {}, False),
        ("ibgw-sandbox-paper-main-settings", {"ibgw.prefix": "ibgw"}, False),
        ("ibgw-sandbox2-paper-main", {"ibgw.prefix": "ibgw-sandbox2"}, False),
        ("ibgw-sandbox2-paper-main", {}, False),
        ("ibgw-sandbox", {}, False),
        ("ibgw-sandbox-paper-main", {"ibgw.sandbox": "ibgw-test-1"}, False),
        ("bot", {"app": "bot"}, False),
    ],
)
def test_what_belongs_to_a_sandbox(name: str, labels: dict[str, str] | None, ours: bool) -> None:
    assert docker_engine.belongs("ibgw-sandbox", name, labels) is ours


# Users and secrets


def test_secrets_and_the_brokers_users_say_the_same_and_nobody_else_can_read_them(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    vault.add([PAPER, LIVE])
    paper, live = vault.credentials()
    users = json.loads(vault.users.read_text())["users"]
    assert users == [
        {
            "user_id": paper.user_id,
            "password": paper.password,
            "live_accounts": [],
            "paper_accounts": [paper.account],
            "second_factor": "none",
            "totp_secret": paper.totp_secret,
        },
        {
            "user_id": live.user_id,
            "password": live.password,
            "live_accounts": [live.account],
            "paper_accounts": [],
            "second_factor": "push",
            "totp_secret": live.totp_secret,
        },
    ]
    assert len(base64.b32decode(paper.totp_secret)) == 20  # RFC 4226, 4: the recommended length
    assert json.loads(paper.secret()) == {
        "user_id": paper.user_id,
        "password": paper.password,
        "trading_mode": "paper",
    }
    assert paper.account.startswith("DU")
    assert live.account.startswith("U")
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


def test_users_are_kept_and_only_new_ones_generated(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    vault.add([PAPER])
    before = vault.credentials()
    assert [new.secret_id for new in vault.add([PAPER, LIVE])] == ["ibgw/live/main"]
    assert vault.credentials()[:1] == before
    assert len(json.loads(vault.users.read_text())["users"]) == 2


def test_a_users_second_factor_is_that_of_the_stack_file(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    vault.add([LIVE])
    before = vault.credentials()[0]
    assert vault.add([login(Mode.LIVE, SecondFactor.NONE)]) == []
    assert vault.credentials() == [before.model_copy(update={"second_factor": SecondFactor.NONE})]
    assert json.loads(vault.users.read_text())["users"][0]["second_factor"] == "none"


def test_a_new_password_is_the_brokers_too_and_a_wrong_one_is_not(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    vault.add([PAPER, LIVE])
    paper, live = vault.credentials()

    def passwords() -> list[str]:
        return [user["password"] for user in json.loads(vault.users.read_text())["users"]]

    put = {content: vault.put(vault.credentials()[0], content) for content in Content}
    assert len({paper.version_id, *(one.version_id for one in put.values())}) == 1 + len(Content)
    assert vault.credentials() == [put[Content.NO_JSON], live]
    new = put[Content.NEW_PASSWORD]
    right = {"user_id": paper.user_id, "password": new.password, "trading_mode": "paper"}
    assert new.password != paper.password
    assert passwords() == [new.password, live.password]
    assert json.loads(new.secret()) == right
    wrong = json.loads(put[Content.WRONG_PASSWORD].secret())
    assert wrong["password"] != new.password
    assert {**wrong, "password": new.password} == right
    assert json.loads(put[Content.WRONG_MODE].secret()) == {**right, "trading_mode": "live"}
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(put[Content.NO_JSON].secret())


def test_every_sandbox_has_its_own_passwords() -> None:
    one, other = generate(PAPER), generate(PAPER)
    assert one.password != other.password
    assert one.user_id != other.user_id
    assert len(one.password) >= 16
