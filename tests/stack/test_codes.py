"""What types a gateway's codes: declared beside it, with the seed in one file of its own and nowhere else."""

import json
from typing import Any

import pytest

from deployment.description import Deployment
from healthcheck.second_factor.handover import DISPLAY_FOLDER, SEED_FILE, TOLD_FOLDER
from tests.stack.conftest import PASSWORD, USER, Program
from tests.unit.test_settings import changed

SEED = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
FACTOR = {"method": "totp", "device": "Authenticator", "secretId": "ibgw/paper/seed"}
GATEWAY = json.dumps({"user_id": USER, "password": PASSWORD, "trading_mode": "paper"})
SECRETS = {"ibgw/paper/main": GATEWAY, "ibgw/paper/seed": f"{SEED.lower()[:4]} {SEED[4:]}\n"}


def run(monkeypatch: pytest.MonkeyPatch, factor: dict[str, Any] = FACTOR, **options: Any) -> Any:
    config = changed("paper", {"ibgw:gateways.main.secondFactor": factor})
    return Program(monkeypatch).run("paper", config, **{"secrets": SECRETS, **options})


def test_it_has_the_seed_the_display_and_a_volume_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = run(monkeypatch)
    codes, gateway = (deployment.engine.declared("Container", name) for name in ("main-codes", "main"))
    assert "uploads" in codes.secret
    (upload,) = codes.inputs["uploads"]["value"]
    assert (upload["file"], upload["content"]) == (SEED_FILE, SEED)
    rest = [{**one.inputs, "uploads": ""} for one in deployment.engine.resources]
    assert SEED not in json.dumps([rest, deployment.outputs], default=str)
    assert SEED not in json.dumps(gateway.inputs, default=str)
    assert codes.inputs["networkMode"] == "none"
    assert codes.inputs["capabilities"] == {"drops": ["ALL"]}
    assert codes.inputs["user"] not in ("0", "1000:1000", "65534:65534")
    mounts = {mount["containerPath"]: mount.get("readOnly", False) for mount in codes.inputs["volumes"]}
    assert mounts == {DISPLAY_FOLDER: True, TOLD_FOLDER: False}
    shared = {mount["containerPath"]: mount.get("readOnly", False) for mount in gateway.inputs["volumes"]}
    assert (shared[DISPLAY_FOLDER], shared[TOLD_FOLDER]) == (False, True)
    assert "TWOFA_DEVICE=Authenticator" in gateway.inputs["envs"]


def test_the_contract_names_it_and_an_older_version_reads_one_without(monkeypatch: pytest.MonkeyPatch) -> None:
    contract = run(monkeypatch).outputs["contract"]
    assert contract["gateways"]["main"]["codes"]["name"] == "ibgw-paper-main.codes"
    assert Deployment.model_validate(contract).gateways["main"].codes is not None
    assert "codes" not in run(monkeypatch, {"method": "none"}).outputs["contract"]["gateways"]["main"]


@pytest.mark.parametrize(
    ("seed", "said"),
    [
        ("JBSWY3DPEHPK3PX0", "its value is not base32"),
        ("JBSWY3DP", "another length than a seed"),
        ("", "another length than a seed"),
        (f"otpauth://totp/IBKR?secret={SEED}", "the address that a QR code holds"),
        (GATEWAY, "another length than a seed|is not base32"),
    ],
)
def test_what_is_no_seed_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch, seed: str, said: str) -> None:
    with pytest.raises(Exception, match=said) as refused:
        run(monkeypatch, secrets=SECRETS | {"ibgw/paper/seed": seed}, preview=True)
    assert "JBSWY" not in str(refused.value)
    assert PASSWORD not in str(refused.value)


def test_a_preview_by_who_may_not_read_it_goes_without(monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = run(monkeypatch, preview=True, denied=["getSecretVersion"])
    assert deployment.engine.declared("Container", "main-codes").inputs["uploads"]
