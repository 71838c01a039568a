"""What `ibgw env` prints."""

from operations.client import VARIABLES, client_environment
from operations.stack import parse_contract
from tests.unit.operations_contract import contract_json


def test_variables_of_a_paper_gateway() -> None:
    deployment = parse_contract(contract_json(), "x")
    # Ranges: docs/clients.md (100 to 199 production, 200 to 299 development).
    assert client_environment(deployment, deployment.gateways["main"]) == {
        "IBGW_STACK": "paper",
        "IBGW_GATEWAY": "main",
        "IBGW_MODE": "paper",
        "IBGW_NETWORK": "ibgw-paper-main-api",
        "IBGW_HOST": "ibgw-paper-main",
        "IBGW_PORT": "4004",
        "IBGW_READ_ONLY": "false",
        "IBGW_CLIENT_ID_MIN": "100",
        "IBGW_CLIENT_ID_MAX": "199",
        "IBGW_CLIENT_ID_DEVELOPMENT_MIN": "200",
        "IBGW_CLIENT_ID_DEVELOPMENT_MAX": "299",
    }


def test_every_variable_is_explained() -> None:
    assert all(VARIABLES.values())
