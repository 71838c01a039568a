"""How long an alert takes from the prober's look to Alertmanager's receiver, beyond the time that its rule waits.

Run: `python -m benchmarks.alerts [--rounds 10]`. A real Prometheus and a real Alertmanager with the project's own
configurations (tests/engine/alerting.py) ask what a watcher would tell of a file that the prober would have written; a
gateway is down in it at moments of chance. From a fault to the look it takes an interval more, at most.
"""

import argparse
import os
import random
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.console import say
from benchmarks.sandbox import machine
from healthcheck.monitoring import handover
from healthcheck.reasons import Reason
from tests.engine.alerting import alerting, waits
from tests.helpers import until
from tests.unit.monitored import gateway_seen, seen, told_of

ALERT = ("IBGatewayConnectivityLost", "main")
ALLOWED = 5.0
"""Seconds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    before, took = os.getloadavg()[0], list[float]()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "seen.json")

        def looked(reason: Reason | None) -> None:
            handover.write(seen(gateway_seen(reason=reason), written=time.time() + 3600), file)

        looked(None)
        with told_of(file) as target, alerting(Path(folder), target) as alerts:
            until(lambda: alerts.values("ib_gateway_up == 1"), "it is scraped")
            for _ in range(options.rounds):
                alerts.hook.took.clear()
                time.sleep(random.uniform(0, 3))
                began = time.monotonic()
                looked(Reason.CONNECTIVITY_LOST)
                until(lambda: ALERT in alerts.told("firing"), "the alert comes")
                took.append(time.monotonic() - began - waits(ALERT[0]))
                looked(None)
                until(lambda: ALERT in alerts.told("resolved"), "it is over")
    say(f"{machine(before)}; {options.rounds} rounds")
    say(
        f"from the look to the receiver, beyond the rule's time: median {statistics.median(took):.1f} s, from "
        f"{min(took):.1f} to {max(took):.1f} s; allowed {ALLOWED:g} s"
    )


if __name__ == "__main__":
    main()
