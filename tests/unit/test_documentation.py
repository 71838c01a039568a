"""What the documents name exists, commands with their options too, and what is generated is current."""

import re
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deployment.description import PORTS, Mode
from deployment.errors import ExitCode
from infra import elsewhere
from infra.settings_reference import MEANINGS
from operations.cli import add_foreign_commands, build_app
from operations.commands.doctor import doctor
from operations.doctor_host import TOPICS
from operations.promotion.journal import Phase
from operations.reference import REFERENCE, rendered
from tests.documented import ELSEWHERE, ROOT, WALKED, blocks, documents, shown


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


TEXTS = "".join((ROOT / document).read_text(encoding="utf-8") for document in documents())
TARGETS = set(re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE))


# Commands


def refused(words: list[str]) -> str:
    """Why there is no such command or option; empty where there is. Nothing is run, and no value is looked at."""
    match words:
        case ["ibgw", chosen, *_]:
            app = build_app(chosen)
            add_foreign_commands(app, chosen)
            done = CliRunner().invoke(app, [*words[1:], "--help"])
            only_named = f"Invalid value for '{words[-1]}'" in done.stderr  # an option of which a text says no value
            return done.stderr if done.exit_code and not only_named else ""
        case ["make", *rest]:
            targets = {word for word in rest if not word.startswith("-") and "=" not in word}
            return "" if targets <= TARGETS else f"the Makefile has no {targets - TARGETS}"
        case ["python", "-m", module, *_]:
            return "" if find_spec(module) else f"there is no module {module}"
    return ""


@pytest.mark.parametrize("document", documents())
def test_each_command_of_a_document_exists_with_its_options(document: str) -> None:
    unknown = {" ".join(words): said for words in shown(document) if (said := refused(words))}
    assert unknown == {}


def test_a_command_or_an_option_that_is_not_there_is_noticed() -> None:
    for words in (
        ["ibgw", "verfy"],
        ["ibgw", "verify", "--hourly"],
        ["ibgw", "sandbox", "secrets"],
        ["ibgw", "sandbox", "secret", "--user"],
        ["make", "-s", "sandbox-environment"],
        ["python", "-m", "benchmarks.nothing"],
    ):
        assert refused(words), words


def test_commands_are_found_in_blocks_and_in_the_text() -> None:
    assert not re.search(r"^ *```(sh|bash|shell)$", TEXTS, re.MULTILINE), "a block of commands is a console"
    assert ["make", "sandbox"] in shown("README.md")
    assert ["pulumi", "config", "set", "aws:region", "us-east-1"] in shown("docs/account.md")
    assert ["ibgw", "login", "--again"] in shown("docs/architecture.md")
    assert ["ibgw", "env", "--stack", "paper", "--gateway", "main"] in shown("docs/clients.md"), (
        "without what is written"
    )


def test_each_document_with_commands_is_walked_by_a_test_or_named_with_the_reason() -> None:
    assert {document for document in documents() if any(blocks(document))} == {*WALKED, *ELSEWHERE}


# Diagrams


@pytest.mark.parametrize("source", sorted((ROOT / "docs" / "diagrams").glob("*.dot")), ids=lambda at: at.stem)
def test_each_diagram_is_drawn_from_its_source_and_shown(source: Path) -> None:
    drawn = (ROOT / "docs" / "images" / f"{source.stem}.svg").read_text()
    assert drawn.splitlines()[-1] == (
        f"<!-- {sha256(source.read_bytes()).hexdigest()}  docs/diagrams/{source.name} -->"
    ), "run make diagrams"
    assert 'fill="#ffffff"' in drawn, "a background of its own, for pages that are dark"
    images = re.findall(rf"!\[([^\]]+)\]\((?:docs/)?images/{source.stem}\.svg\)", TEXTS)
    assert len(images) == 1
    assert len(images[0]) > 20, "what it shows, for who cannot see it"


def test_no_image_is_left_from_a_diagram_that_is_gone() -> None:
    sources, images = (ROOT / "docs" / "diagrams").glob("*.dot"), (ROOT / "docs" / "images").glob("*.svg")
    assert {source.stem for source in sources} == {image.stem for image in images}


def test_the_diagrams_words_are_the_programs() -> None:
    networks, promotion, login = (
        (ROOT / "docs" / "diagrams" / f"{name}.dot").read_text() for name in ("networks", "promotion", "login")
    )
    assert set(re.findall(r"^    (\w+) \[label=\"\1", promotion, re.MULTILINE)) == {*Phase}
    codes = {int(code) for code in re.findall(r"exit code (\d+)", promotion)}
    assert codes <= {*ExitCode}
    assert f"{PORTS[Mode.LIVE].client} live" in networks
    assert f"{PORTS[Mode.PAPER].client} paper" in networks
    for key in ("autoRestart", "autoLogoff", "coldRestart"):
        assert key in login
        assert f"`session.{key}`" in (ROOT / REFERENCE).read_text()
