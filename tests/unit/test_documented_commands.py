"""Each command that the documents show exists, with its options, and is run by a test or named as one that is not."""

import re
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deployment.description import PORTS, Mode
from deployment.errors import ExitCode
from operations.cli import add_foreign_commands, build_app
from operations.promotion.journal import Phase
from operations.reference import REFERENCE
from tests.documented import ELSEWHERE, ROOT, WALKED, blocks, documents, shown

TEXTS = "".join((ROOT / document).read_text(encoding="utf-8") for document in documents())
TARGETS = set(re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE))


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


def test_commands_are_found_in_blocks_of_both_kinds_and_in_the_text() -> None:
    assert ["make", "sandbox"] in shown("README.md")
    assert ["pulumi", "login", "s3://ibgw-state-live?region=us-east-1"] in shown("docs/promotion.md")
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
    sources, images = (ROOT / "docs" / "diagrams").glob("*.dot"), (ROOT / "docs" / "images").iterdir()
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
