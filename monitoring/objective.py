"""The objective: the share of the trading hours in which a trader could trade, as recording rules. Pure.

What was not observed is unknown, and counts neither as up nor as down. A planned restart or a pause within the trading
hours counts as down: no trader could trade.
"""

from collections.abc import Mapping
from typing import Any

from monitoring.alerts import GATEWAY, JOB, of_gateway

OBJECTIVE = 0.995
"""Of a month's trading hours on US stocks (136) it leaves 41 minutes."""
WINDOWS = ("1d", "7d", "30d")
MONTH = WINDOWS[-1]

_HOURS = f"max by (stack) (ibgw_trading_hours{{{JOB}}})"
TRADING = "gateway:ibgw_trading_hours:observed"
COULD = "gateway:ibgw_trading_hours:could_trade"
SHARE = "gateway:ibgw_could_trade:ratio"
BUDGET = "gateway:ibgw_error_budget_left:ratio"


def groups() -> list[dict[str, Any]]:
    """Prometheus' rule groups. A month of what is recorded each minute is read each ten."""
    up = of_gateway("ib_gateway_up")
    return [
        {
            "name": "ibgw-trading",
            "interval": "1m",
            "rules": [
                _record(TRADING, f"({up} >= bool 0) * on (stack) group_left () {_HOURS}"),
                _record(COULD, f"{up} * on (stack) group_left () {_HOURS}"),
            ],
        },
        {
            "name": "ibgw-objective",
            "interval": "10m",
            "rules": [
                *(_record(SHARE, _share(window), {"window": window}) for window in WINDOWS),
                _record(BUDGET, f"1 - (1 - {_share(MONTH)}) / (1 - {OBJECTIVE})"),
            ],
        },
    ]


def _share(window: str) -> str:
    def total(metric: str) -> str:
        return f"sum by ({GATEWAY}) (sum_over_time({metric}[{window}]))"

    return f"({total(COULD)} / ({total(TRADING)} > 0))"


def _record(name: str, expression: str, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    return {"record": name, "expr": expression, **({"labels": dict(labels)} if labels else {})}
