"""Where the watcher sends to: read from Secrets Manager, and nowhere but in one file of the watcher's."""

import json
from typing import Any

import pytest

from deployment.description import CHANNELS_FILE
from deployment.errors import IbgwError
from tests.stack.conftest import PASSWORD, USER, Program
from tests.unit.test_settings import changed

ADDRESS, BEAT = "tgram://tok3nThatNobodySees/42", "https://beats.example/tok3nThatNobodySees"
MONITORING = {"enabled": True, "notify": ["ibgw/paper/chat"], "heartbeat": "ibgw/paper/beat"}
GATEWAY = json.dumps({"user_id": USER, "password": PASSWORD, "trading_mode": "paper"})
SECRETS = {"ibgw/paper/main": GATEWAY, "ibgw/paper/chat": f"{ADDRESS}\n", "ibgw/paper/beat": BEAT}


def run(monkeypatch: pytest.MonkeyPatch, monitoring: dict[str, Any] = MONITORING, **options: Any) -> Any:
    given = {"secrets": SECRETS, **options}
    return Program(monkeypatch, watched=True).run("paper", changed("paper", {"ibgw:monitoring": monitoring}), **given)


def test_the_watcher_alone_has_them_in_a_file_and_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = run(monkeypatch)
    watcher, prober = (deployment.engine.declared("Container", name) for name in ("watcher", "prober"))
    assert "uploads" in watcher.secret
    (upload,) = watcher.inputs["uploads"]["value"]
    assert upload["file"] == CHANNELS_FILE
    assert json.loads(upload["content"]) == {
        "notify": [{"secret": "ibgw/paper/chat", "address": ADDRESS}],
        "heartbeat": BEAT,
    }
    rest = [{**one.inputs, "uploads": ""} for one in deployment.engine.resources]
    assert "tok3nThatNobodySees" not in json.dumps([rest, deployment.outputs], default=str)
    assert not prober.inputs["uploads"]
    networks = {one.name: one.inputs for one in deployment.engine.of_type("Network")}
    assert not networks["monitoring-way-out"].get("internal")
    assert networks["monitoring"]["internal"]
    assert len(watcher.inputs["networksAdvanced"]) == 2
    assert len(prober.inputs["networksAdvanced"]) == 1
    assert deployment.outputs["contract"]["monitoring"]["heartbeat"] is True


def test_nobody_to_tell_is_no_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = run(monkeypatch, {"enabled": True})
    assert "monitoring-way-out" not in {one.name for one in deployment.engine.of_type("Network")}
    watcher = deployment.engine.declared("Container", "watcher").inputs
    assert watcher["readOnly"] is True
    assert not watcher["uploads"]
    assert "heartbeat" not in deployment.outputs["contract"]["monitoring"]


def test_a_pushgateway_is_told_to_the_watcher_alone_which_has_a_way_out_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = run(monkeypatch, {"enabled": True, "pushgateway": "http://push.lan:9091"})
    watcher, prober = (deployment.engine.declared("Container", name).inputs for name in ("watcher", "prober"))
    assert " --pushgateway http://push.lan:9091 --instance ibgw-paper.watcher" in " ".join(watcher["command"])
    assert len(watcher["networksAdvanced"]) == 2
    assert len(prober["networksAdvanced"]) == 1
    assert "push.lan" not in str(prober)


@pytest.mark.parametrize(
    "address",
    ["push.lan:9091", "ftp://push.lan", "http://", "http://me:tok3n@push.lan", "http://push.lan?a=b", "http://a b"],
)
def test_what_is_no_address_of_a_pushgateway_is_refused_without_showing_it(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    with pytest.raises(Exception, match=r"ibgw:monitoring\.pushgateway: expected http://") as refused:
        run(monkeypatch, {"enabled": True, "pushgateway": address})
    assert "tok3n" not in str(refused.value)


@pytest.mark.parametrize(
    ("secrets", "said"),
    [
        ({"ibgw/paper/chat": ADDRESS.removeprefix("tgram://")}, "'ibgw/paper/chat': its value is no address"),
        ({"ibgw/paper/chat": f"{ADDRESS} {ADDRESS}"}, "'ibgw/paper/chat': its value is no address"),
        ({"ibgw/paper/beat": ADDRESS}, "'ibgw/paper/beat': its value is no address"),
    ],
)
def test_what_is_no_address_is_refused_without_showing_it(
    monkeypatch: pytest.MonkeyPatch, secrets: dict[str, str], said: str
) -> None:
    with pytest.raises((IbgwError, Exception), match=said) as refused:
        run(monkeypatch, secrets=SECRETS | secrets)
    assert "tok3nThatNobodySees" not in str(refused.value)


def test_a_preview_by_who_may_not_read_them_goes_without(monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = run(monkeypatch, preview=True, denied=["getSecretVersion"])
    assert deployment.engine.declared("Container", "watcher").inputs["uploads"]


def test_a_secret_that_is_named_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Exception, match="a secret is named twice"):
        run(monkeypatch, MONITORING | {"heartbeat": "ibgw/paper/chat"})
