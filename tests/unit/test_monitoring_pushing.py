"""What the watcher tells, in a real Pushgateway: as one group, replaced as a whole, and gone with the watcher."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from healthcheck.monitoring import metrics
from healthcheck.monitoring.pushing import Pushing
from sandbox import packages
from sandbox.environment import default_cache
from tests.helpers import free_port, until
from tests.unit.monitored import gateway_seen, seen

INSTANCE = "ibgw-paper.watcher"


@pytest.fixture(scope="module")
def pushgateway() -> Iterator[str]:
    packages.provide(packages.PROMETHEUS, default_cache(), print)
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus-pushgateway", f"--web.listen-address={address}", "--log.level=error"]
    with subprocess.Popen(command) as process:
        until(lambda: has(f"http://{address}") is not None, "the Pushgateway answers")
        yield f"http://{address}"
        process.terminate()


def has(address: str) -> dict[str, dict[str, str]] | None:
    """The labels of what it has of ours, by the metric's name; None where it does not answer."""
    try:
        with urllib.request.urlopen(f"{address}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    except OSError:
        return None
    return {
        sample.name: sample.labels
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.get("job") == metrics.JOB
    }


def test_what_is_told_is_a_group_by_job_and_instance_until_the_watcher_ends(pushgateway: str) -> None:
    told = [seen(gateway_seen(), written=100.0)]
    pushing = Pushing(
        pushgateway, INSTANCE, lambda: metrics.of_seen(told[-1], 100.0, metrics.Configured()), print, every=0.01
    )
    pushing.start()
    until(lambda: "ib_gateway_up" in (has(pushgateway) or {}), lambda: str(has(pushgateway)))
    found = has(pushgateway)
    assert found is not None
    assert found["ib_gateway_up"] == {
        "job": "ib_gateway", "instance": INSTANCE, "stack": "paper", "gateway": "main", "mode": "paper"
    }  # fmt: skip
    assert "push_time_seconds" in found
    # A gateway that is not told any more is gone, and no memory of another day.
    told.append(seen(written=100.0))
    until(lambda: "ib_gateway_up" not in (has(pushgateway) or {}), lambda: str(has(pushgateway)))
    pushing.end()
    assert has(pushgateway) == {}


def test_one_that_does_not_answer_is_said_once_and_again_when_it_does(pushgateway: str) -> None:
    said: list[dict[str, Any]] = []
    away = Pushing(f"http://127.0.0.1:{free_port()}", INSTANCE, list, said.append, every=0.01)
    away.start()
    until(lambda: said, "it is said")
    away._address = pushgateway
    until(lambda: len(said) == 2, lambda: str(said))
    away._address = "http://127.0.0.1:1"
    until(lambda: len(said) == 3, lambda: str(said))
    away.end()
    taken = [{"event": "push", "taken": taken} for taken in (False, True, False)]
    assert said == [*taken, {"event": "push", "deleted": False}]


def test_the_watcher_deletes_its_group_when_it_is_stopped(pushgateway: str, tmp_path: Path) -> None:
    """As Docker stops it. Without a file of the prober's it says that it knows nothing."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom healthcheck.monitoring import watcher, watching\n"
        f"watching.Watching.__init__.__kwdefaults__['folder'] = Path({str(tmp_path)!r})\n"
        f"watcher.MONITORING_PORT = {free_port()}\nwatcher.main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, "--stack", "paper", "--pushgateway", pushgateway, "--instance", INSTANCE]
    with subprocess.Popen(command) as process:
        until(lambda: "ibgw_monitoring_fresh" in (has(pushgateway) or {}), lambda: json.dumps(has(pushgateway)))
        process.terminate()
        assert process.wait(timeout=60) == 0
    assert has(pushgateway) == {}
