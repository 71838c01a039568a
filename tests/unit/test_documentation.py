"""What the documents name exists, and what is generated is current."""

import re
from pathlib import Path

import pytest

from infra import elsewhere
from infra.settings_reference import MEANINGS
from operations.commands.doctor import doctor
from operations.doctor_host import TOPICS
from operations.reference import rendered

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("document", ["architecture", "extending"])
def test_each_file_that_is_named_exists(document: str) -> None:
    text = (ROOT / "docs" / f"{document}.md").read_text()
    named = re.findall(r"`((?:deployment|infra|healthcheck|operations|client|sandbox|tests|docs)/[\w./-]*)`", text)
    assert len(named) > 10
    assert [name for name in named if "NAME" not in name and not (ROOT / name).exists()] == []


def test_the_page_about_the_host_has_each_topic_of_the_doctor_in_its_order() -> None:
    rows = re.findall(r"^\| `([a-z ]+)` \|", (ROOT / "docs" / "host.md").read_text(), re.MULTILINE)
    assert rows == [topic.__name__.replace("_", " ") for topic in TOPICS]
    help_text = " ".join((doctor.__doc__ or "").split())
    assert f"Of the Docker host: {', '.join(rows)}" in help_text


@pytest.mark.parametrize("path", sorted(rendered()))
def test_what_is_generated_is_current(path: str) -> None:
    assert (ROOT / path).read_text() == rendered()[path], "run make reference"


@pytest.mark.parametrize(
    "document", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda at: at.name
)
def test_logs_are_read_with_what_masks_credentials_and_follows_the_stack_s_host(document: Path) -> None:
    assert re.findall(r"docker(?:-compose| compose)?(?: --?[\w-]+[= ]\S+)* logs\b", document.read_text()) == []


GUIDE = (
    *("image", "container_name", "ports", "volumes", "networks", "restart", "healthcheck"),
    *("interval", "timeout", "retries", "start_period"),
    *("TWS_USERID", "TWS_PASSWORD", "TRADING_MODE", "TWS_ACCEPT_INCOMING", "TWS_LOGOFF_TIME", "TWS_RESTART_TIME"),
    *("TWS_TIMEZONE", "IB_USERNAME", "IB_PASSWORD", "IB_2FA_SECRET", "IB_2FA_METHOD", "IB_CLIENT_ID"),
    *("IB_GATEWAY_PORT", "IB_TRADING_MODE", "IB_READ_ONLY_API", "IB_MASTER_CLIENT_ID", "LOG_LEVEL", "TWS_DEBUG"),
    *("4002:4002", "5900:5900", "ib_gateway_settings:/root/Jts", "./logs/ib-gateway:/root/Jts/logs"),
    *("ib_gateway_up", "ib_gateway_memory_mb", "IBGatewayDown", "IBGatewayHighMemory", "setConnectOptions"),
)
"""Each setting, port, folder, metric and alert of SpreadPilot's setup guide, by the name that it has there."""


def test_each_setting_of_the_setup_guide_has_a_row_that_names_what_takes_it() -> None:
    text = (ROOT / "docs" / "accounts.md").read_text()
    rows = [line.split(" | ") for line in text.partition("### Line by line")[2].splitlines() if line.startswith("| ")]
    keys = {re.sub(r"^gateways\.NAME\.", "", key) for key in MEANINGS}
    for name in GUIDE:
        answers = [here for guide, here in rows if re.search(rf"(?<![\w/]){re.escape(name)}(?!\w)", guide)]
        assert answers, name
        answer = elsewhere.row(name)
        if answer is not None and answer.key is not None:
            assert any(f"`{answer.key}`" in here for here in answers), (name, answer.key)
    named = set(re.findall(r"`([a-z][A-Za-z]*(?:\.[A-Za-z]+)+)`", "".join(here for _, here in rows)))
    assert {key for key in named if key.partition(".")[0] in {known.partition(".")[0] for known in keys}} <= keys
