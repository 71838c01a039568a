"""`ibgw doctor` about the Docker host: what its daemon tells, and what it cannot."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deployment.abilities import Lacking
from deployment.errors import IbgwError
from deployment.tables import MIB, Kind
from healthcheck.docker_host import Conflict, DockerError
from healthcheck.report import Report
from operations.doctor import Observation, next_step, render
from operations.doctor_host import HostEvidence, collect_host, examine_host
from operations.stack import parse_contract
from tests.unit.fake_docker import FakeDocker
from tests.unit.operations_contract import MONITORING, contract_document, contract_json
from tests.unit.test_operations_doctor import GOOD, report

CONTRACT = parse_contract(contract_json(), "x")
ABLE: dict[str, Any] = {
    "MemTotal": 8192 * MIB,
    "MemoryLimit": True,
    "SwapLimit": True,
    "IPv4Forwarding": True,
    "LiveRestoreEnabled": True,
    "ServerVersion": "28.2.2",
    "DockerRootDir": "/var/lib/docker",
}


def container(name: str = "main", *, memory: int = 1536, grace: int = 90, running: bool = True) -> dict[str, Any]:
    return {
        "Id": name,
        "Name": f"/{name}",
        "Config": {"Labels": {"ibgw.role": "gateway"}, "StopTimeout": grace},
        "State": {"Status": "running" if running else "exited"},
        "HostConfig": {
            "Memory": memory * MIB,
            "RestartPolicy": {"Name": "unless-stopped"},
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "5"}},
        },
    }


HEALTHY = HostEvidence(CONTRACT, ABLE, timedelta(), timedelta(seconds=0.1), (container(),), 20_000 * MIB)


def observed(topic: str, evidence: HostEvidence) -> Observation:
    return next(observation for observation in examine_host(evidence) if observation.topic == topic)


def telling(**info: Any) -> HostEvidence:
    return replace(HEALTHY, info={**ABLE, **info})


def test_of_a_good_host_only_what_docker_cannot_tell_is_open() -> None:
    observations = examine_host(HEALTHY)
    assert {one.topic for one in observations if one.ok is None} == {"stop time", "upgrades", "boot"}
    assert {one.topic for one in observations if one.ok is False} == set()
    assert all("docs/host.md" in (one.next or "") for one in observations if one.ok is None)


BAD = [
    ("clock", replace(HEALTHY, skew=timedelta(seconds=60)), False, "1m 0s ahead of this machine's"),
    ("clock", replace(HEALTHY, skew=timedelta(hours=-9)), False, "9h 0m behind this machine's"),
    ("clock", replace(HEALTHY, skew=timedelta(seconds=3)), True, "as this machine's"),
    # Half a minute for an answer hides a minute's half.
    ("clock", replace(HEALTHY, skew=timedelta(seconds=20), doubt=timedelta(seconds=16)), None, "too slowly"),
    ("clock", replace(HEALTHY, skew=timedelta(minutes=5), doubt=timedelta(seconds=16)), False, "5m 0s ahead"),
    ("limits", telling(MemoryLimit=False), False, "no control group for memory"),
    ("limits", telling(SwapLimit=False), False, "do not count swap"),
    ("memory", telling(MemTotal=1900 * MIB), False, "1 gateway may take 1536 MiB; the host has 1900 MiB"),
    ("memory", replace(HEALTHY, gateways=tuple(container(str(one)) for one in range(6))), False, "6 gateways may take"),
    ("memory", replace(HEALTHY, gateways=()), True, "0 gateways may take 0 MiB"),
    ("memory", telling(MemTotal=0), None, "does not tell"),
    ("disk", replace(HEALTHY, disk_left=800 * MIB), False, "800 MiB left"),
    ("disk", replace(HEALTHY, disk_left=1060 * MIB), False, "should be free"),
    ("disk", replace(HEALTHY, disk_left=None), None, "no running gateway"),
    ("boot", telling(SecurityOptions=["name=rootless"]), None, "unless that user lingers"),
    ("boot", telling(OperatingSystem="Docker Desktop"), None, "sleeps with the machine"),
    ("forwarding", telling(IPv4Forwarding=False), False, "no gateway reaches IBKR"),
    ("live restore", telling(LiveRestoreEnabled=False), False, "log in again"),
    ("live restore", telling(LiveRestoreEnabled=None), False, "log in again"),
    ("upgrades", telling(ServerVersion="20.10.24+dfsg1"), None, "Docker 20.10.24+dfsg1"),
]


@pytest.mark.parametrize(("topic", "evidence", "ok", "said"), BAD)
def test_what_is_measured_is_told_with_what_to_do(
    topic: str, evidence: HostEvidence, ok: bool | None, said: str
) -> None:
    observation = observed(topic, evidence)
    assert observation.ok is ok
    assert said in observation.found
    assert ok or observation.next


def test_an_accepted_limit_is_no_fault() -> None:
    evidence = telling(MemoryLimit=False)
    accepted = CONTRACT.model_copy(update={"accepted": (Lacking.MEMORY_LIMIT,)})
    observation = observed("limits", replace(evidence, deployment=accepted))
    assert (observation.ok, observation.found[:29]) == (True, "accepted by ibgw:acceptHost: ")
    unlimited = replace(evidence, gateways=(container(), container("two", memory=0)))
    assert "1 of them without a limit" in observed("memory", unlimited).found


def test_what_to_do_about_a_limit_is_whole_at_the_end_of_the_doctor_too() -> None:
    amiss = [observed("limits", telling(MemoryLimit=False))]
    step = next_step("paper", Report.of("paper", [report(*GOOD)]), {}, amiss)
    assert "cgroup_enable=memory swapaccount=1 to the kernel's command line" in step
    assert "acceptHost: [memoryLimit]" in step
    assert step.endswith("`ibgw verify --stack paper --gateway main`")


def test_the_stop_time_follows_the_longest_grace_on_the_host() -> None:
    evidence = replace(HEALTHY, gateways=(container(), container("other-stack", grace=600)))
    observation = observed("stop time", evidence)
    assert "the longest grace is 600 s" in observation.found
    assert "must say 630 s or more" in (observation.next or "")


def test_what_starts_with_the_host_is_counted() -> None:
    once = container("once")
    once["HostConfig"]["RestartPolicy"] = {"Name": "no"}
    evidence = replace(HEALTHY, gateways=(container(), container("two"), container("off", running=False), once))
    assert observed("boot", evidence).found.startswith("2 gateways would log in at once")


def host(*containers: dict[str, Any]) -> FakeDocker:
    docker = FakeDocker()
    docker.can = ABLE
    docker.time = (datetime.now(UTC) + timedelta(minutes=2)).isoformat()
    docker.objects[Kind.CONTAINER] = {one["Id"]: one for one in containers}
    return docker


def test_evidence_is_read_and_a_gateway_that_runs_is_asked_for_the_disk() -> None:
    docker = host(container("stopped", running=False), container("main"), container("other"))
    docker.prints["df --output=avail -B1"] = "     Avail\n3221225472\n"
    evidence = collect_host(docker, CONTRACT)
    assert evidence.disk_left == 3 * 2**30
    assert len(evidence.gateways) == 3
    assert observed("clock", evidence).ok is False
    # It looks, once, and changes nothing.
    assert [(what, where) for what, where, *_ in docker.done] == [("run", "main")]


@pytest.mark.parametrize(
    ("prober", "found", "todo"),
    [
        ({"Status": "running", "Health": {"Status": "healthy"}}, "ibgw-paper.prober and ibgw-paper.watcher run", None),
        ({"Status": "running", "Health": {"Status": "unhealthy"}}, "ibgw-paper.prober is unhealthy", "docker logs"),
        ({"Status": "exited"}, "ibgw-paper.prober is exited", "`docker start ibgw-paper.prober`"),
        (None, "ibgw-paper.prober is gone", "`ibgw repair --stack paper`"),
    ],
)
def test_what_watches_a_stack_is_looked_after(prober: dict[str, Any] | None, found: str, todo: str | None) -> None:
    watched = {**contract_document(), "monitoring": MONITORING}
    states = {"prober": prober, "watcher": {"Status": "running"}}
    docker = host(*({"Id": MONITORING[role]["id"], "State": state} for role, state in states.items() if state))
    observation = observed("monitoring", collect_host(docker, parse_contract(json.dumps(watched), "x")))
    assert (observation.ok, observation.found) == (todo is None, found)
    assert (todo or "") in (observation.next or "")


@pytest.mark.parametrize("said", ["", 'OCI runtime exec failed: exec: "df": executable file not found'])
def test_a_disk_that_nobody_tells_of_is_unknown(said: str) -> None:
    docker = host(container("main"))
    docker.prints["df"] = said
    assert collect_host(docker, CONTRACT).disk_left is None
    docker.failing["run"] = Conflict("container main is not running")
    assert collect_host(docker, CONTRACT).disk_left is None


def test_a_host_that_stops_answering_is_named() -> None:
    docker = host()
    docker.failing["info"] = DockerError("read timed out")
    with pytest.raises(IbgwError, match=r"Docker host unix:///var/run/docker\.sock: read timed out"):
        collect_host(docker, CONTRACT)


def test_what_cannot_be_seen_has_a_question_mark() -> None:
    text = render("unix:///x", [observed("stop time", HEALTHY)])
    assert text.splitlines()[1].startswith("  ?     stop time  ")
    assert "-> on the host: `systemctl show docker -p TimeoutStopUSec`" in text


@pytest.mark.parametrize("topic", ["live restore", "stop time"])
def test_of_a_rootless_docker_the_user_s_own_service_is_named(topic: str) -> None:
    of_root, of_user = (
        observed(topic, telling(LiveRestoreEnabled=False, SecurityOptions=options)).next or ""
        for options in ([], ["name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"])
    )
    assert "`systemctl --user " in of_user
    assert "systemctl --user" not in of_root
