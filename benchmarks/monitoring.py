"""What watching costs: memory and CPU time of the prober and the watcher, by the number of gateways.

Run: `python -m benchmarks.monitoring [--gateways 1 10 50] [--seconds 60]`, as root. Both run as in their containers,
against simulated API servers and status lines, in a network and a mount namespace of their own; a scrape comes each
15 s. It needs no sandbox.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from benchmarks.console import say
from benchmarks.processes import all_processes, descendants, memory
from deployment.description import MONITORING_FOLDER, MONITORING_HISTORY, MONITORING_PORT, PORTS, STATUS_PORT, Mode
from sandbox.environment import ROOT
from tests.unit.gateways import gateway
from tests.unit.test_healthcheck_status import LINE
from tests.unit.tws_server import TwsServer

INTERVAL = 15
WARM = 30.0
"""Seconds until all is connected, loaded and looked at once."""
MIB = 2**20
BASE, EACH = 80, 1
"""MB for both, and for each gateway."""
SHARE = 0.01
"""Of a core, a gateway."""
APART = ("unshare", "--net", "--mount", "sh", "-c", 'ip link set lo up && INSIDE=1 exec "$@"', "sh")
START = f"""
mount -t tmpfs none /run && mount -t tmpfs none /var/lib && mkdir {MONITORING_FOLDER} {MONITORING_HISTORY} || exit
"$0" -m healthcheck.monitoring.prober --stack paper --interval {INTERVAL} "$@" &
"$0" -m healthcheck.monitoring.watcher --stack paper &
wait
"""
WELL = (
    LINE.replace("hold=attempts", "hold=none").replace("phase=held", "phase=logged_in").replace("api=unknown", "api=ok")
)


@dataclass(frozen=True)
class Cost:
    """`memory`: PSS in bytes, of both. `share`: of a core, of both. `well`: gateways that a trader could use."""

    gateways: int
    memory: int
    share: float
    well: int


def tell(connection: object) -> None:
    connection.sendall(f"{WELL}\n".encode())  # type: ignore[attr-defined]


@contextmanager
def simulated(count: int) -> Iterator[list[str]]:
    """The entries of so many gateways, each at a loopback address of its own."""
    with ExitStack() as opened:
        entries = []
        for number in range(count):
            host, port = f"127.0.9.{number + 1}", PORTS[Mode.PAPER].client
            for server in (TwsServer(address=(host, port)), TwsServer(talk=tell, address=(host, STATUS_PORT))):
                opened.callback(server.close)
            described = gateway(
                name=f"g{number}",
                api={"network": "none", "host": host, "port": port, "inner_port": PORTS[Mode.PAPER].inner},
                schedule={"time_zone": "Etc/UTC", "auto_restart": None, "cold_restart": None},
            )
            entries.append(described.model_dump_json(exclude={"secret"}))
        yield entries


def metrics() -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{MONITORING_PORT}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def measure(count: int, seconds: float) -> Cost:
    with simulated(count) as entries:
        told = [word for entry in entries for word in ("--gateway-json", entry)]
        with subprocess.Popen(
            ["sh", "-c", START, sys.executable, *told], cwd=ROOT, stdout=subprocess.DEVNULL
        ) as process:
            try:
                time.sleep(WARM)
                before, began = _seconds(process.pid), time.monotonic()
                while time.monotonic() - began < seconds:
                    text = metrics()
                    time.sleep(INTERVAL)
                spent, took = _seconds(process.pid) - before, time.monotonic() - began
                taken = memory(descendants(process.pid, all_processes()) - {process.pid}).pss
            finally:
                for pid in descendants(process.pid, all_processes()) - {process.pid}:
                    subprocess.run(["kill", str(pid)], check=False)
    well = sum(line.startswith("ib_gateway_up") and line.endswith(" 1.0") for line in text.splitlines())
    return Cost(count, taken, spent / took, well)


def _seconds(root: int) -> float:
    processes = all_processes()
    return sum(processes[pid].seconds for pid in descendants(root, processes) if pid in processes)


def show(costs: Sequence[Cost]) -> None:
    say(
        f"{'gateways':>8}  {'well':>4}  {'memory':>8}  {'of budget':>9}  {'a gateway, of a core':>20}  {'of budget':>9}"
    )
    for cost in costs:
        budget = (BASE + EACH * cost.gateways) * 1e6
        each = cost.share / cost.gateways
        say(
            f"{cost.gateways:>8}  {cost.well:>4}  {cost.memory / MIB:>4.0f} MiB  {cost.memory / budget:>9.2f}  "
            f"{each * 100:>18.2f} %  {each / SHARE:>9.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gateways", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if "INSIDE" not in os.environ:
        sys.exit(subprocess.run([*APART, sys.executable, "-m", "benchmarks.monitoring", *sys.argv[1:]]).returncode)
    costs = [measure(count, options.seconds) for count in options.gateways]
    if options.json:
        say(json.dumps([vars(cost) for cost in costs]))
    else:
        show(costs)


if __name__ == "__main__":
    main()
