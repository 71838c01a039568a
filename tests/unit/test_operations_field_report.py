"""`ibgw field-report`: what a deployment went through, and nothing that tells whose it is."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from deployment.errors import IbgwError
from deployment.tables import Kind
from healthcheck import docker_host
from healthcheck.docker_host import DockerError
from operations import cli
from operations.field_report import collect
from operations.stack import parse_contract
from tests.unit.fake_docker import FakeDocker
from tests.unit.operations_contract import contract_document
from tests.unit.operations_pulumi import install
from tests.unit.promotion_reports import report

NAMES = {
    "user": "jdoe1977",
    "password": "correct horse",
    "account": "DU1234567",
    "gateway": "jane",
    "host": "trading.example.net",
    "address": "203.0.113.7",
    "prefix": "doe-family",
    "secret": "doe/paper/jane",
    "version": "11111111-2222-3333-4444-555555555555",
}
"""What must not be in it, all of which is in what it is made of."""

FORMS = {
    "an address": r"\b\d{1,3}(\.\d{1,3}){3}\b",
    "an account": r"\b[DUF][A-Z]?\d{5,}\b",
    "a host's name": r"\b[a-z0-9-]+\.(net|com|org|internal|local|invalid)\b",
    "a mail address": r"@",
    "a path or an URL": r"/",
    "an identifier": r"[0-9a-f]{8}-[0-9a-f]{4}|(?<!sha256:)\b[0-9a-f]{32,}\b",
    "a sentence": r"[A-Za-z_]+ [A-Za-z_]+",
}

STATUS = (
    "v=1 phase=logged_in since=1795000005 hold=none until=0 now=1795000100 mode=paper automation=ibc "
    "started=1795000001 kind=password login=1795000005 api=ok attempts=0 limit=2 outcomes=none logins=1 factor=0 "
    "event=auto_restart due=1794990000 done=1794990060 heals=1 healed=soft_restart memory=300000000 "
    "clients=2 stopped=clean"
)
LOG = [
    "2026-11-22T18:00:00.1Z .> Starting IBC/IB gateway",
    "2026-11-22T18:00:02.1Z 2026-11-22 18:00:02:300 IBC: Login attempt: 1",
    f"2026-11-22T18:00:02.2Z connecting {NAMES['user']} to {NAMES['host']} ({NAMES['address']})",
    "2026-11-22T18:00:02.3Z 2026-11-22 18:00:02:300 IBC: Login attempt: 1",
    f"2026-11-22T18:00:03.1Z something about {NAMES['password']} and {NAMES['account']}",
    "2026-11-22T18:00:04.1Z 2026-11-22 18:00:04:500 IBC: Login has completed",
]


def document() -> dict[str, Any]:
    found = contract_document()
    gateway = found["gateways"].pop("main")
    gateway["container"]["name"] = f"{NAMES['prefix']}-paper-{NAMES['gateway']}"
    gateway |= {
        "name": NAMES["gateway"],
        "expected_accounts": [NAMES["account"]],
        "secret": {"id": NAMES["secret"], "version_id": NAMES["version"]},
    }
    found["gateways"] = {NAMES["gateway"]: gateway}
    return found | {"docker_host": f"ssh://{NAMES['user']}@{NAMES['host']}", "name_prefix": NAMES["prefix"]}


@pytest.fixture
def host() -> FakeDocker:
    fake = FakeDocker()
    name = f"{NAMES['prefix']}-paper-{NAMES['gateway']}"
    fake.can = {"ServerVersion": "28.2.2", "Name": NAMES["host"]}
    fake.objects[Kind.CONTAINER][name] = {
        "Id": "a" * 64,
        "Name": f"/{name}",
        "Created": "2026-11-22T17:59:00.1Z",
        "RestartCount": 3,
        "State": {
            "Status": "running",
            "Running": True,
            "StartedAt": "2026-11-22T18:00:00.1Z",
            "FinishedAt": "0001-01-01T00:00:00Z",
            "ExitCode": 75,
            "OOMKilled": False,
            "Error": NAMES["host"],
        },
    }
    fake.logs[name] = LOG
    fake.files = {
        "/tmp/ibgw/status": STATUS,
        "/home/ibgateway/tws_settings/guard/history": f"1795000001 login\n{NAMES['user']} login\n",
        "/home/ibgateway/tws_settings/guard/heals": "1794999000 soft_restart\n",
        "/run/secrets/tws_password": NAMES["password"],
    }
    return fake


def test_it_tells_versions_times_and_reasons(host: FakeDocker) -> None:
    deployment = parse_contract(json.dumps(document()), "x")
    found = json.loads(collect(host, deployment, None).as_json())
    assert found["versions"]["docker"] == "28.2.2"
    [life] = found["gateways"]
    assert (life["number"], life["restarts"], life["exit_code"], life["ended"]) == (1, 3, 75, None)
    assert [event["what"] for event in life["logins"]] == ["starting", "submitted", "logged_in"]
    assert [event["what"] for event in life["history"]] == ["login"]
    assert [event["what"] for event in life["heals"]] == ["soft_restart"]
    assert (life["now"]["stopped"], life["now"]["heals"]) == ("clean", 1)


def test_nothing_in_it_tells_whose_it_is(
    host: FakeDocker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(docker_host, "DockerHost", lambda _: host)
    pulumi = install(tmp_path / "pulumi", monkeypatch, sys.executable)
    contract = json.dumps({"contract": document()})
    pulumi.answers({"stack output": (0, contract, ""), "version": (0, "v3.256.0\n", f"warning: {NAMES['user']}\n")})
    kept = pulumi.home / ".ibgw" / "reports" / "paper.json"
    kept.parent.mkdir(parents=True)
    kept.write_text(report("login_failed", stack="paper").as_json().replace('"main"', json.dumps(NAMES["gateway"])))
    assert cli.run(["field-report", "--stack", "paper"]) == 0
    path = pulumi.home / ".ibgw" / "reports" / "paper.field.json"
    assert path.stat().st_mode & 0o777 == 0o600
    said = capsys.readouterr().err
    assert "Not in it: names of users" in said
    assert "Seen in the field" in said
    text = path.read_text()
    assert json.loads(text)["versions"]["pulumi"] == "v3.256.0"
    assert [check["reason"] for check in json.loads(text)["gateways"][0]["checks"]] == [None, "login_failed"]
    assert {what: name for what, name in NAMES.items() if name in text} == {}
    strings = list(_strings(json.loads(text)))
    assert {what: found for what, form in FORMS.items() if (found := [s for s in strings if re.search(form, s)])} == {}
    # The scanner finds what it looks for.
    planted = [*NAMES.values(), f"x@{NAMES['host']}", "/var/lib/docker"]
    assert all(any(re.search(form, text) for text in planted) for form in FORMS.values())

    chosen = tmp_path / "mine.json"
    chosen.touch(0o644)
    assert cli.run(["field-report", "--stack", "paper", "--output", str(chosen)]) == 0
    assert chosen.stat().st_mode & 0o777 == 0o600
    capsys.readouterr()
    assert cli.run(["field-report", "--stack", "paper", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mode"] == "paper"


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in (key, *_strings(item))]
    if isinstance(value, list):
        return [text for item in value for text in _strings(item)]
    return [value] if isinstance(value, str) else []


def test_a_version_of_an_unknown_form_is_left_out(host: FakeDocker) -> None:
    host.can["ServerVersion"] = f"built by {NAMES['user']}"
    assert collect(host, parse_contract(json.dumps(document()), "x"), None).versions.docker is None


def test_a_gateway_that_is_gone_is_told_and_a_host_that_fails_is_an_error(host: FakeDocker) -> None:
    deployment = parse_contract(json.dumps(document()), "x")
    host.objects[Kind.CONTAINER] = {}
    [life] = collect(host, deployment, None).gateways
    assert (life.status, life.logins) == (None, ())
    host.failing["there"] = DockerError("gone")
    with pytest.raises(IbgwError, match="gone"):
        collect(host, deployment, None)
