"""The examples in docs use what `ibgw env` prints, and nothing that it does not."""

import ast
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"
# `ibgw env --help`, as documented.
PRINTED = {
    "IBGW_STACK",
    "IBGW_GATEWAY",
    "IBGW_MODE",
    "IBGW_NETWORK",
    "IBGW_HOST",
    "IBGW_PORT",
    "IBGW_READ_ONLY",
    "IBGW_CLIENT_ID_MIN",
    "IBGW_CLIENT_ID_MAX",
    "IBGW_CLIENT_ID_DEVELOPMENT_MIN",
    "IBGW_CLIENT_ID_DEVELOPMENT_MAX",
}


def test_the_bot_reads_variables_that_are_printed() -> None:
    tree = ast.parse((EXAMPLES / "bot.py").read_text())
    used = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("IBGW_")
    }
    assert {"IBGW_HOST", "IBGW_PORT", "IBGW_CLIENT_ID_MIN"} <= used
    assert used <= PRINTED


def test_the_compose_file_joins_the_gateways_network_and_publishes_nothing() -> None:
    text = (EXAMPLES / "compose.yaml").read_text()
    compose: dict[str, Any] = yaml.safe_load(text)
    assert set(re.findall(r"\$\{(\w+)", text)) == {"IBGW_NETWORK"}
    network = compose["networks"]["gateway"]
    assert network["external"] is True
    assert network["name"].startswith("${IBGW_NETWORK")
    bot = compose["services"]["bot"]
    assert bot["networks"] == ["gateway"]
    assert bot["env_file"] == "gateway.env"
    assert "ports" not in bot


def test_the_page_for_clients_shows_the_examples_as_they_are() -> None:
    blocks = dict(
        re.findall(
            r"```(yaml|python)\n((?:services|import).*?)```", (ROOT / "docs" / "clients.md").read_text(), re.DOTALL
        )
    )
    assert (EXAMPLES / "bot.py").read_text().endswith(blocks["python"])
    assert yaml.safe_load(blocks["yaml"]) == yaml.safe_load((EXAMPLES / "compose.yaml").read_text())
