"""What a client of a gateway needs to know, as the variables that `ibgw env` prints."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `ibgw --help` shows VARIABLES, and must not wait for pydantic
    from deployment.description import Deployment, Gateway

VARIABLES = {
    "IBGW_STACK": "the stack",
    "IBGW_GATEWAY": "the gateway's name in the stack",
    "IBGW_MODE": "paper or live",
    "IBGW_NETWORK": "the Docker network to join, the only way in",
    "IBGW_HOST": "the host name to connect to, on that network",
    "IBGW_PORT": "the port to connect to",
    "IBGW_READ_ONLY": "true if the gateway refuses orders",
    "IBGW_CLIENT_ID_MIN": "the first client id for production clients",
    "IBGW_CLIENT_ID_MAX": "the last client id for production clients",
    "IBGW_CLIENT_ID_DEVELOPMENT_MIN": "the first client id for development",
    "IBGW_CLIENT_ID_DEVELOPMENT_MAX": "the last client id for development",
}
"""Every variable and its meaning; shown by `ibgw env --help`."""


GUIDE = {
    "IB_CLIENT_ID": "IBGW_CLIENT_ID_MIN",
    "IB_GATEWAY_HOST": "IBGW_HOST",
    "IB_GATEWAY_PORT": "IBGW_PORT",
    "IB_TRADING_MODE": "IBGW_MODE",
}
"""The names of setup guides for docker-compose, each with ours."""


def client_environment(deployment: "Deployment", gateway: "Gateway") -> dict[str, str]:
    """The variables for one gateway's clients. No value holds a blank or needs quoting."""
    production, development = gateway.client_ids.production, gateway.client_ids.development
    values = (
        deployment.stack,
        gateway.name,
        gateway.mode.value,
        gateway.api.network,
        gateway.api.host,
        str(gateway.api.port),
        "true" if gateway.read_only else "false",
        str(production[0]),
        str(production[1]),
        str(development[0]),
        str(development[1]),
    )
    return dict(zip(VARIABLES, values, strict=True))
