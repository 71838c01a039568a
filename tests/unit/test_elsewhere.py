"""Settings of the image, of compose files and of guides: each has one answer, given by `ibgw init --from` and by the
refusal of an unknown key alike."""

from pathlib import Path
from typing import Any

import pytest

from deployment.errors import IbgwError
from infra import elsewhere, values
from infra.settings import Gateway, Settings, load
from infra.settings_reference import GATEWAY, MEANINGS
from operations.compose_file import read
from tests.leaks import leaks
from tests.unit.test_settings import MAIN, changed

# What the image's scripts, its Dockerfile and its two templates read (10.50.1d), in the order of its README.
OF_THE_IMAGE = {
    "TWS_USERID": "Secrets Manager",
    "TWS_PASSWORD": "Secrets Manager",
    "TWS_PASSWORD_FILE": "Secrets Manager",
    "TRADING_MODE": "ibgw:mode",
    "TWS_USERID_PAPER": "two stacks",
    "TWS_PASSWORD_PAPER": "two stacks",
    "TWS_PASSWORD_PAPER_FILE": "two stacks",
    "DUAL_MODE": "two stacks",
    "READ_ONLY_API": f"{MAIN}.api.readOnly",
    "VNC_SERVER_PASSWORD": "ibgw screen",
    "VNC_SERVER_PASSWORD_FILE": "ibgw screen",
    "TWOFA_TIMEOUT_ACTION": f"{MAIN}.secondFactor.onTimeout",
    "TWOFA_DEVICE": f"{MAIN}.secondFactor.device",
    "TWOFA_EXIT_INTERVAL": f"{MAIN}.secondFactor.exitInterval",
    "BYPASS_WARNING": f"{MAIN}.api.bypassWarnings",
    "AUTO_RESTART_TIME": f"{MAIN}.session.autoRestart",
    "AUTO_LOGOFF_TIME": f"{MAIN}.session.autoLogoff",
    "TWS_COLD_RESTART": f"{MAIN}.session.coldRestart",
    "SAVE_TWS_SETTINGS": f"{MAIN}.session.saveSettings",
    "RELOGIN_AFTER_TWOFA_TIMEOUT": f"{MAIN}.secondFactor.relogin",
    "EXISTING_SESSION_DETECTED_ACTION": f"{MAIN}.session.existingSession",
    "ALLOW_BLIND_TRADING": f"{MAIN}.api.allowBlindTrading",
    "TIME_ZONE": f"{MAIN}.session.timeZone",
    "TZ": f"{MAIN}.session.timeZone",
    "TWS_SETTINGS_PATH": "a volume of the gateway's own",
    "TWS_ACCEPT_INCOMING": f"{MAIN}.api.acceptIncoming",
    "TWS_MASTER_CLIENT_ID": f"{MAIN}.api.masterClientId",
    "CUSTOM_CONFIG": "config.ini",
    "JAVA_HEAP_SIZE": f"{MAIN}.resources.javaHeap",
    **dict.fromkeys(
        (
            *("SSH_TUNNEL", "SSH_OPTIONS", "SSH_ALIVE_INTERVAL", "SSH_ALIVE_COUNT", "SSH_PASSPHRASE"),
            *("SSH_PASSPHRASE_FILE", "SSH_REMOTE_PORT", "SSH_USER_TUNNEL", "SSH_RESTART"),
        ),
        "ibgw forward",
    ),
    "SSH_VNC_PORT": "ibgw screen",
    "SSH_RDP_PORT": "another program",
    **dict.fromkeys(("PUID", "PGID", "PASSWD", "PASSWD_FILE"), "another program"),
    **dict.fromkeys(("START_SCRIPTS", "X_SCRIPTS", "IBC_SCRIPTS"), "an image of your own"),
    "GATEWAY_OR_TWS": "the gateway, always",
    **dict.fromkeys(("TWS_MAJOR_VRSN", "IB_GATEWAY_VERSION", "IB_GATEWAY_CHANNEL", "IBC_VERSION"), "ibgw:image"),
    **dict.fromkeys(
        (
            *("IBC_INI", "IBC_INI_TMPL", "IBC_PATH", "IBC_COMMAND", "SCRIPT_PATH", "TWS_PATH", "TWS_INI"),
            *("TWS_INI_TMPL", "DISPLAY", "API_PORT", "SOCAT_PORT"),
        ),
        "the image is used as it is",
    ),
}
# What a person writes into a stack's file, and a piece of the answer.
WRITTEN = {
    "ports": "ibgw forward",
    "userId": "Secrets Manager",
    "user_id": "Secrets Manager",
    "password": "Secrets Manager",
    "labels": f"{MAIN}.container.labels",
    "networks": "under clients",
    "xScripts": "an image of your own",
    "image": "ibgw:image",
    "mode": "ibgw:mode",
    "tradingMode": "ibgw:mode",
    "readOnly": f"did you mean {MAIN}.api.readOnly?",
    "timeZone": f"{MAIN}.session.timeZone",
    "memory": f"{MAIN}.resources.memory",
    "restart": "start guard",
    "twsServer": "A regional server",
    "expected": f"did you mean {MAIN}.account.expected?",
}


def refusal(changes: dict[str, Any]) -> str:
    with pytest.raises(IbgwError) as refused:
        load("paper", changed("paper", changes))
    return str(refused.value)


def test_a_key_of_another_program_is_answered_with_ours_or_with_why_not() -> None:
    answers = OF_THE_IMAGE | WRITTEN
    said = dict(
        line.removeprefix(f"  - {MAIN}.").split(": unknown key; ", 1)
        for line in refusal({f"{MAIN}.{name}": "s3cret-value" for name in answers}).splitlines()[1:]
    )
    assert {name: said[name] for name, answer in answers.items() if answer not in said[name]} == {}
    assert leaks(str(said), "s3cret-value") == []


def test_an_import_answers_the_same(tmp_path: Path) -> None:
    (tmp_path / "today.env").write_text("\n".join(f"{name}=something" for name in OF_THE_IMAGE))
    said = {answer.setting: answer for answer in read(tmp_path / "today.env").answers}
    for name, answer in OF_THE_IMAGE.items():
        row = elsewhere.row(name)
        assert row is not None
        expected = answer if row.key is None else "TIME_ZONE says it already" if name == "TZ" else row.key
        assert expected in (said[name].key or said[name].note)


def test_each_answer_names_a_key_that_there_is() -> None:
    keys = {row.key for name in elsewhere.NAMES if (row := elsewhere.row(name)) is not None and row.key is not None}
    assert {key for key in keys if key not in MEANINGS and f"{GATEWAY}{key}" not in MEANINGS} == set()


def test_no_row_stands_before_a_key_of_ours_in_its_own_place() -> None:
    """A key that is there is never unknown, and one that is only misspelt is asked for by its own name."""
    assert "did you mean timeZone?" in refusal({"ibgw:tradingHours.timezone": "UTC"})
    for model in (Settings, Gateway):
        for field in model.model_fields.values():
            row = elsewhere.row(str(field.alias))
            assert row is None or row.key in (None, field.alias), field.alias


def test_the_variables_of_an_environment_are_answered_one_by_one() -> None:
    said = refusal({f"{MAIN}.environment": {"READ_ONLY_API": "yes", "TWS_PASSWORD": "s3cret-value", "FOO": "1"}})
    assert f"READ_ONLY_API: it is {MAIN}.api.readOnly here" in said
    assert "TWS_PASSWORD: put it into AWS Secrets Manager" in said
    assert "FOO: nothing takes it" in said
    assert leaks(said, "s3cret-value") == []
    assert "TWS_USERID: put it" in refusal({f"{MAIN}.environment": ["TWS_USERID=s3cret-value"]})


@pytest.mark.parametrize(
    "changes",
    [
        {f"{MAIN}.credentials": "someuser:s3cret-value"},
        {f"{MAIN}.credentials": {"secretId": "a", "versionId": "s3cret-value"}},
        {f"{MAIN}.credentials": ["s3cret-value"]},
        {MAIN: "s3cret-value"},
    ],
)
def test_what_stands_where_credentials_are_named_is_not_repeated(changes: dict[str, Any]) -> None:
    assert leaks(refusal(changes), "s3cret-value") == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ibgw:gateway": {"main": {}}}, "ibgw:gateway: unknown key; did you mean gateways?"),
        ({"ibgw:mode": "Paper"}, "did you mean paper?"),
        ({"ibgw:DOCKER_HOST": "x"}, "ibgw:DOCKER_HOST: unknown key; did you mean dockerHost?"),
        ({"ibgw:gateways": ""}, "ibgw:gateways: found nothing; expected names, such as main, each with its settings"),
        ({MAIN: {}}, f"{MAIN}.session: missing; set it, there is no default; below it stand: autoLogoff, autoRestart"),
        ({f"{MAIN}.account": "DU1234567"}, "found a text; expected settings; below it stand: expected"),
        ({f"{MAIN}.clients": ["bot"]}, "found a text; expected settings; below it stand: container, label"),
        ({"ibgw:tradingHours": {"from": "09:30"}}, "Known here: close, days, open, timeZone"),
        (
            {f"{MAIN}.resources.memory": "2GB"},
            "found '2GB'; expected a whole number, without quotes or a unit; did you mean 2048?",
        ),
        ({f"{MAIN}.resources.memory": "2 Gi"}, "did you mean 2048?"),
        ({f"{MAIN}.resources.javaHeap": "768m"}, "did you mean 768?"),
        ({f"{MAIN}.resources.javaHeap": "768"}, "expected a whole number, without quotes or a unit"),
        ({f"{MAIN}.api.readOnly": "Yes"}, "did you mean true?"),
        ({f"{MAIN}.api.readOnly": "off"}, "did you mean false?"),
        ({f"{MAIN}.container.stopGrace": "5h"}, "found '5h0m0s'; expected 60s to 10m"),
        ({f"{MAIN}.api.readOnly": None}, "found nothing; expected true or false"),
        ({f"{MAIN}.session.autoRestart": "11:59 PM"}, "did you mean 23:59?"),
        ({f"{MAIN}.session.autoRestart": 2359}, "found 2359; expected a text; put it in quotes"),
        ({f"{MAIN}.session.timeZone": "EDT"}, "did you mean 'America/New_York'?"),
        ({f"{MAIN}.session.timeZone": "PST"}, "did you mean 'America/Los_Angeles'?"),
        ({f"{MAIN}.session.timeZone": "new york"}, "did you mean 'America/New_York'?"),
        ({f"{MAIN}.session.saveSettings": ["8 o'clock"]}, "HH:MM"),
        ({f"{MAIN}.session.saveSettings": []}, "no time"),
        ({f"{MAIN}.container.labels": ["ibgw.role=bot"]}, "labels that ibgw gives"),
        ({f"{MAIN}.container.labels": ["com.docker.compose.project=x"]}, "compose's own"),
        ({f"{MAIN}.container.labels": ["a=1", "a=2"]}, "each key once"),
        ({f"{MAIN}.container.labels": {"a": "1"}}, "found keys and values; expected a list"),
    ],
)
def test_what_was_meant_is_said(changes: dict[str, Any], said: str) -> None:
    assert said in refusal(changes)


def test_a_file_without_settings_is_told_as_one_fault() -> None:
    """As where they stand beside `config:`, or under another tool's name."""
    with pytest.raises(IbgwError, match=r"no key of ibgw's: .*below `config:`.*`ibgw init --stack paper`"):
        load("paper", {"aws:region": "us-east-1", "ibgateway:mode": "paper"})


def test_each_pattern_of_the_models_is_told_in_words() -> None:
    def patterns(node: Any) -> set[str]:
        if isinstance(node, dict):
            found = {str(node["pattern"])} if "pattern" in node else set()
            return found.union(node.get("patternProperties", ()), *map(patterns, node.values()))
        return set().union(*map(patterns, node)) if isinstance(node, list) else set()

    from deployment.durations import DURATION_PATTERN

    assert patterns(Settings.model_json_schema()) == {*values.PATTERNS, DURATION_PATTERN}
