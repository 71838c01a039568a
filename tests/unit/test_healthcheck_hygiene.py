"""What really runs, from what `docker inspect` shows: every fault with its reason, and no value of a credential."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from deployment.abilities import Lacking, first_user, limits_lacking
from deployment.description import InPlace, Mode, Monitoring
from deployment.properties import Update
from deployment.rules import violations
from deployment.tables import CONTAINER
from healthcheck.automation.status import Status, parse
from healthcheck.hygiene import Facts, judge
from healthcheck.inspected import record
from healthcheck.observation import CheckName, Observation
from healthcheck.reasons import EXPLANATIONS
from healthcheck.verdict import CheckVerdict, check_verdict
from tests.leaks import leaks
from tests.unit.fake_docker import container
from tests.unit.gateways import HEX, gateway, stack

NOW = datetime(2026, 11, 22, 18, 30, tzinfo=UTC)
STARTED = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)
API_NETWORK = {"Driver": "bridge", "Internal": True}
EGRESS = {"Driver": "bridge", "Internal": False, "Options": {"com.docker.network.bridge.enable_icc": "false"}}
SECRET = "hunter2-and-more"  # noqa: S105 - made up


def inspected(**options: Any) -> dict[str, Any]:
    return container("ibgw-paper-main", container_id="a" * 64, networks=("api",), **options)


def facts(document: dict[str, Any] | None = None, **changes: Any) -> Facts:
    shown = inspected() if document is None else document
    plain = Facts(
        record=record(gateway(), shown, API_NETWORK, EGRESS),
        inspected=shown,
        digests=(f"sha256:{HEX}",),
        owner=(1000, 1000),
        restarts=0,
        out_of_memory=False,
        started_at=STARTED,
    )
    return replace(plain, **changes)


def look(found: Facts) -> Observation:
    return judge(gateway(), found, NOW)


def test_a_proper_gateway_passes_with_what_was_looked_at() -> None:
    finding = look(facts())
    assert finding.reason is None
    assert finding.data["restarts"] == 0
    assert finding.data["running_since"] == "2026-11-22T18:00:00Z"
    rules: Any = finding.data["rules"]
    # Docker does not show what an engine does at a removal.
    assert {name for name, standing in rules.items() if standing != "kept"} == {"time_to_log_out_at_removal"}


FAULTS: list[tuple[Facts, str, str]] = [
    (facts(inspected(host_config={"CapDrop": None})), "rule_broken", "capabilities dropped: found none, expected ALL"),
    (facts(inspected(host_config={"Privileged": True})), "rule_broken", "privileged: found true"),
    (facts(inspected(host_config={"SecurityOpt": None})), "rule_broken", "security options: found none"),
    (facts(inspected(host_config={"Memory": 0, "MemorySwap": 0})), "rule_broken", "memory: found no limit"),
    (facts(inspected(host_config={"RestartPolicy": {"Name": "no"}})), "rule_broken", "restart policy: found no"),
    (
        facts(inspected(host_config={"LogConfig": {"Type": "json-file", "Config": None}})),
        "rule_broken",
        "log option max-size: found none",
    ),
    # docker stop, API 1.41: 10 s where a container says nothing.
    (facts(inspected(config={"StopTimeout": None})), "rule_broken", "stop grace: found 10 s"),
    (facts(inspected(config={"Healthcheck": None})), "rule_broken", "probe: found none"),
    (facts(inspected(config={"Env": [f"TWS_PASSWORD={SECRET}"]})), "credential_visible", "under TWS_PASSWORD,"),
    (facts(inspected(config={"Labels": {"note": f"password: {SECRET}"}})), "credential_visible", "under note,"),
    (facts(inspected(config={"Cmd": ["run", f"--pw={SECRET}"]})), "credential_visible", "under --pw,"),
    (
        facts(
            inspected(
                host_config={
                    "LogConfig": {"Type": "local", "Config": {"max-size": "1", "max-file": "1", "token": SECRET}}
                }
            )
        ),
        "credential_visible",
        "HostConfig.LogConfig.Config.token",
    ),
    (facts(digests=()), "image_differs", f"found one without a digest, expected sha256:{HEX}"),
    (facts(digests=("sha256:0",)), "image_differs", "image: found sha256:0"),
    (facts(owner=(0, 0)), "settings_owner", "owner of the settings: found 0:0, expected 1000:1000"),
    (facts(owner=(1000, 0)), "settings_owner", "found 1000:0"),
    (facts(owner=None), "settings_owner", "expected volume ibgw-paper-main-settings"),
    (facts(out_of_memory=True), "out_of_memory", "limit 1536 MiB"),
    (facts(restarts=1), "restarted", "restarted once by Docker, last at 2026-11-22T18:00:00Z"),
    (facts(restarts=3), "restarted", "restarted 3 times"),
]


@pytest.mark.parametrize(("found", "reason", "said"), FAULTS)
def test_each_fault_has_its_reason_and_says_what_was_found(found: Facts, reason: str, said: str) -> None:
    finding = look(found)
    assert finding.reason == reason
    assert said in finding.seen
    assert leaks(finding.seen + str(finding.data), SECRET) == []


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ({"Memory": 1024 * 2**20}, "memory: found 1024 MiB, expected 1536 MiB"),
        ({"Memory": 0, "MemorySwap": 0}, "memory: found 0 MiB, expected 1536 MiB"),
        ({"MemorySwap": 3072 * 2**20}, "memory with swap: found 3072 MiB, expected 1536 MiB"),
        ({"RestartPolicy": {"Name": "no"}}, "restart policy: found no, expected unless-stopped"),
    ],
)
def test_what_an_update_applies_in_place_is_compared_with_what_runs(host: dict[str, Any], said: str) -> None:
    deployed = gateway(in_place={"memory": 1536, "memory_swap": 1536, "restart": "unless-stopped"})
    assert judge(deployed, facts(), NOW).reason is None
    finding = judge(deployed, facts(inspected(host_config=host)), NOW)
    assert finding.reason == "not_applied"
    assert said in finding.seen


def test_what_is_applied_in_place_is_in_the_description() -> None:
    """All but whether it runs, which is a check of its own."""
    assert set(InPlace.model_fields) == {row.name for row in CONTAINER if row.update is Update.IN_PLACE} - {"state"}


def test_a_restart_of_long_ago_is_no_news() -> None:
    finding = look(facts(restarts=3, started_at=datetime(2026, 11, 21, 18, 29, tzinfo=UTC)))
    assert finding.reason is None
    assert finding.data["restarts"] == 3


def test_the_worst_fault_gives_the_reason_and_all_are_told() -> None:
    shown = inspected(config={"Env": [f"TWS_USERID={SECRET}"]}, host_config={"CapDrop": None})
    finding = look(facts(shown, owner=(0, 0), restarts=1))
    assert finding.reason == "credential_visible"
    for said in ("under TWS_USERID,", "capabilities dropped", "owner of the settings", "restarted once"):
        assert said in finding.seen


@pytest.mark.parametrize(
    ("container", "api", "egress", "broken"),
    [
        ({"ports": {"4004/tcp": [{"HostIp": "", "HostPort": "4002"}]}}, {}, {}, "no_published_port"),
        ({"host_config": {"PublishAllPorts": True}}, {}, {}, "no_published_port"),
        ({"host_config": {"NetworkMode": "host"}}, {}, {}, "own_network"),
        ({}, {"Internal": False}, {}, "api_internal"),
        ({}, {"Driver": "macvlan"}, {}, "bridges"),
        ({}, {}, {"Options": {}}, "egress_separates"),
        ({}, {}, {"Options": None}, "egress_separates"),
    ],
)
def test_what_inspect_shows_reaches_the_rules_about_networks(
    container: dict[str, Any], api: dict[str, Any], egress: dict[str, Any], broken: str
) -> None:
    found = record(gateway(), inspected(**container), API_NETWORK | api, EGRESS | egress)
    assert list(violations(found)) == [broken]


def test_without_egress_its_facts_are_not_seen() -> None:
    found = record(gateway(), inspected(), API_NETWORK, None)
    assert found.egress_traffic is None
    assert violations(found) == {}


def told(**changes: object) -> Status:
    """A status line of the gateway's first process; its last planned restart was due an hour ago, and came."""
    due = int(NOW.timestamp()) - 3600
    fields: dict[str, object] = {"due": due, "done": due + 12, "stopped": "clean", **changes}
    line = (
        f"v=1 phase=logged_in since={due} hold=none until=0 now={due} mode=paper automation=ibc started={due} "
        f"kind=saved login={due} api=ok attempts=0 limit=2 outcomes=none logins=0 factor=0 event=auto_restart "
        "due={due} done={done} heals=1 healed=soft_restart memory=1 clients=0 stopped={stopped}"
    )
    return parse(line.format(**fields))


def test_a_live_stack_whose_watching_nobody_outside_hears_of_warns() -> None:
    warned = judge(gateway(), facts(unheard=True), NOW)
    assert warned.reason == "silence_unnoticed"
    assert check_verdict(warned.by(CheckName.HYGIENE), gateway()) is CheckVerdict.WARN
    container_of = {"name": "ibgw-paper.prober", "id": "a" * 64}
    watched = {"prober": container_of, "watcher": container_of, "network": "ibgw-paper.monitoring"}
    paper = stack(gateway())
    live = paper.model_copy(update={"mode": Mode.LIVE})
    for heartbeat in (False, True):
        monitoring = Monitoring.model_validate({**watched, "heartbeat": heartbeat})
        assert live.model_copy(update={"monitoring": monitoring}).unheard is not heartbeat
        assert not paper.model_copy(update={"monitoring": monitoring}).unheard
    assert not live.unheard


def test_a_planned_restart_that_did_not_come_warns() -> None:
    assert look(facts(status=told())).reason is None
    missed = look(facts(status=told(done=0)))
    assert missed.reason == "plan_missed"
    assert "the planned auto restart of 2026-11-22T17:30:00Z did not take place" in missed.seen
    assert missed.data["planned"] == {"event": "auto_restart", "due": "2026-11-22T17:30:00Z", "done": None}
    just_due = int(NOW.timestamp()) - 60
    assert look(facts(status=told(due=just_due, done=0))).reason is None


@pytest.mark.parametrize(
    ("stopped", "warns"), [("clean", False), ("no_session", False), ("killed", True), ("ended", True)]
)
def test_a_restart_that_the_supervisor_wanted_is_no_fault(stopped: str, warns: bool) -> None:
    finding = look(facts(restarts=2, status=told(stopped=stopped)))
    assert (finding.reason == "restarted") is warns
    assert finding.data["last_stop"] == stopped


NO_MEMORY = {"MemoryLimit": False, "SwapLimit": False}
NO_SWAP = {"MemoryLimit": True, "SwapLimit": False}
DROPPED = {"Memory": 0, "MemorySwap": -1}
UNSWAPPED = {"MemorySwap": -1}


@pytest.mark.parametrize(
    ("info", "host", "limit"),
    [(NO_MEMORY, DROPPED, "memoryLimit"), (NO_SWAP, UNSWAPPED, "swapLimit"), (NO_MEMORY, UNSWAPPED, "memoryLimit")],
)
@pytest.mark.parametrize("recorded", [None, InPlace(memory=1536, memory_swap=1536, restart="unless-stopped")])
def test_a_limit_that_the_host_dropped_is_the_hosts_fault_and_no_replacement_helps(
    info: dict[str, bool], host: dict[str, int], limit: str, recorded: InPlace | None
) -> None:
    found = facts(inspected(host_config=host), lacking=limits_lacking(info))
    finding = judge(gateway().model_copy(update={"in_place": recorded}), found, NOW)
    assert finding.reason == "host_lacks"
    assert f"ibgw:acceptHost: [{limit}]" in finding.seen
    assert "--replace" not in EXPLANATIONS[finding.reason].remedy
    # What else is wrong is still told.
    worse = judge(gateway(), replace(found, owner=(0, 0)), NOW)
    assert "found 0:0" in worse.seen


@pytest.mark.parametrize(
    ("info", "host", "limit", "memory"),
    [(NO_MEMORY, DROPPED, Lacking.MEMORY_LIMIT, 0), (NO_SWAP, UNSWAPPED, Lacking.SWAP_LIMIT, 1536)],
)
def test_what_was_accepted_passes_and_shows(
    info: dict[str, bool], host: dict[str, int], limit: Lacking, memory: int
) -> None:
    found = facts(inspected(host_config=host), lacking=limits_lacking(info), accepted=(limit,))
    expected = InPlace(memory=memory, memory_swap=0, restart="unless-stopped")
    finding = judge(gateway().model_copy(update={"in_place": expected}), found, NOW)
    assert finding.reason is None
    assert f"lacks {limit}, as ibgw:acceptHost accepts" in finding.seen
    rules: Any = finding.data["rules"]
    assert rules["memory_limited"] == "accepted"
    # A limit that somebody took away on a host that has it is nobody's acceptance.
    assert look(facts(inspected(host_config=host))).reason == "rule_broken"


@pytest.mark.parametrize(
    ("owner", "reason"), [((166536, 166536), None), ((1000, 1000), None), ((165536, 165536), "settings_owner")]
)
def test_where_docker_remaps_users_the_owner_is_a_user_of_the_host(owner: tuple[int, int], reason: str | None) -> None:
    info = {"SecurityOptions": ["name=seccomp,profile=default", "name=userns"], "DockerRootDir": "/data/165536.165536"}
    assert look(facts(owner=owner, first_user=first_user(info))).reason == reason
    # Rootless Docker has its own users everywhere, and a folder's name alone means nothing.
    for other in ({"SecurityOptions": ["name=rootless"]}, {"SecurityOptions": None}):
        assert first_user(info | other) == (0, 0)
