"""Several gateways at once: one container verifies up to sixteen, and tries them from their own networks."""

import json
import threading
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import pytest

from deployment.description import Deployment, Gateway
from healthcheck import runner
from healthcheck.reachability import Origin, ProbeTarget, Reachability, ReachabilityRounds
from healthcheck.verifier_container import Verifiers
from tests.unit.fake_docker import VerifyingDocker, address, network
from tests.unit.gateways import entry, gateway, stack
from tests.unit.test_healthcheck_reachability import looked
from tests.unit.test_healthcheck_runner import EGRESS, NAMES, attempt_line, healthy_host, result


def gateways(count: int) -> Deployment:
    found: list[Gateway] = []
    for at in range(count):
        name = "z" * (at // 26) + chr(ord("a") + at % 26)
        api = entry()["api"] | {"network": api_of(name), "host": f"ibgw-paper-{name}"}
        found.append(gateway(name=name, api=api, container={"name": f"ibgw-paper-{name}", "id": f"c{at:063x}"}))
    return stack(*found)


def api_of(name: str) -> str:
    return f"ibgw-paper-{name}-api"


def healthy_report(name: str) -> str:
    return attempt_line([result(check) for check in NAMES], last=True, gateway=name)


@pytest.fixture
def deployment() -> Deployment:
    return gateways(18)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, deployment: Deployment) -> VerifyingDocker:
    found = healthy_host(monkeypatch)
    found.containers.clear()
    for at, name in enumerate(deployment.gateways):
        api = api_of(name)
        found.networks[api] = network(api)
        found.answers[api, f"{address(api)}:4004"] = "api"
        found.add_container(
            f"ibgw-paper-{name}",
            container_id=f"c{at:063x}",
            networks=(api, EGRESS),
            labels={"ibgw.prefix": "ibgw", "ibgw.project": "ibgw", "ibgw.stack": "paper", "ibgw.role": "gateway"},
        )
    found.verifier_lines = [healthy_report(name) for name in deployment.gateways]
    return found


def only_first(host: VerifyingDocker) -> None:
    containers = host.containers
    for name in list(containers)[1:]:
        del containers[name]


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (1, [1]), (16, [16]), (17, [9, 8]), (50, [13, 13, 12, 12])])
def test_groups_are_about_equal_and_of_sixteen_at_most(count: int, sizes: list[int]) -> None:
    host, many = VerifyingDocker(), gateways(count) if count else stack()
    host.verifier_stays = True
    with Verifiers(host, many, lambda line: None) as verifiers:
        verifiers.start([*many.gateways.values()][:count], [], wait=0, show_accounts=False)
        assert len([started.result() for started in verifiers.starting.values()]) == count
    assert sorted((len(verifier.gateways) for verifier in host.verifiers), reverse=True) == sizes
    assert host.left == []


def test_a_verifier_serves_several_gateways_and_is_removed_once(host: VerifyingDocker, deployment: Deployment) -> None:
    report = runner.verify(deployment, wait=0, progress=lambda line: None)
    assert {one.gateway for one in report.gateways} == set(deployment.gateways)
    assert {check.verdict.value for one in report.gateways for check in one.checks[:7]} == {"pass"}
    assert [len(verifier.networks) for verifier in host.verifiers] == [9, 9]
    for verifier in host.verifiers:
        command = verifier.options["command"]
        asked = [json.loads(text)["name"] for word, text in pairwise(command) if word == "--gateway-json"]
        assert verifier.networks == [api_of(name) for name in asked]
        assert "ibgw.gateway" not in verifier.options["labels"]
        # Else whoever is on one gateway's network could be passed on to another's (ip-sysctl, ip_forward).
        assert verifier.options["sysctls"] == {"net.ipv4.ip_forward": "0"}
        assert host.removed.count(verifier.name) == 1
    assert host.left == []


def test_a_gateway_that_gets_no_report_does_not_take_the_others_with_it(
    host: VerifyingDocker, deployment: Deployment
) -> None:
    host.verifier_lines.remove(healthy_report("d"))
    report = runner.verify(deployment, wait=0, progress=lambda line: None)
    failed = [one.gateway for one in report.gateways if one.checks[0].reason == "verifier_failed"]
    assert failed == ["d"]


def test_a_gateway_with_an_obstacle_keeps_the_verifier_off_its_network(
    host: VerifyingDocker, deployment: Deployment
) -> None:
    host.containers["ibgw-paper-d"]["State"]["Status"] = "exited"
    report = runner.verify(deployment, wait=0, progress=lambda line: None)
    assert {one.gateway: one.checks[0].reason for one in report.gateways}["d"] == "stopped"
    assert all(api_of("d") not in verifier.networks for verifier in host.verifiers)


def test_our_own_containers_are_known_after_they_are_gone(host: VerifyingDocker) -> None:
    """Of a hundred events at once Docker forgets some, and a network's list may name who has just been removed."""
    connected = {
        "Type": "network",
        "Action": "connect",
        "Actor": {"ID": "n", "Attributes": {"container": "f" * 64, "name": api_of("a"), "type": "bridge"}},
        "timeNano": 0,
    }
    deployment = gateways(1)
    only_first(host)
    host.verifier_lines = [healthy_report("a")]
    for stranger, verdict in (("f" * 64, "pass"), ("9" * 64, "fail")):  # the first is the id of the fake's verifiers
        connected["Actor"]["Attributes"]["container"] = stranger  # type: ignore[index]
        host.happened = [connected]
        report = runner.verify(deployment, wait=0, progress=lambda line: None)
        assert report.gateways[0].checks[6].verdict.value == verdict


@pytest.mark.parametrize(("own", "verdict"), [(True, "pass"), (False, "fail")])
def test_a_container_that_is_just_being_removed_is_known_by_its_name(
    host: VerifyingDocker, monkeypatch: pytest.MonkeyPatch, own: bool, verdict: str
) -> None:
    """Seen with Docker 20.10: the network lists it as `ep-` and its endpoint's id."""
    members = {"c" + "0" * 63: {"Name": "ibgw-paper-a"}}
    host.networks[api_of("a")]["Containers"] = members
    real = host.create

    def create(image: str, command: Any = None, **options: Any) -> str:
        if not options["entrypoint"]:
            members["ep-" + "1" * 62] = {"Name": options["name"] if own else f"{options['name']}-not"}
        return real(image, command, **options)

    monkeypatch.setattr(host, "create", create)
    only_first(host)
    host.verifier_lines = [healthy_report("a")]
    report = runner.verify(gateways(1), wait=0, progress=lambda line: None)
    assert report.gateways[0].checks[6].verdict.value == verdict


def test_those_who_look_again_while_a_look_is_under_way_go_together(
    host: VerifyingDocker, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of eighteen gateways whose controls are silent at first, no more than three groups try again."""
    rounds: list[set[str]] = []
    all_answers, host.answers = host.answers, {}
    asked: list[str] = []
    everybody_asked = threading.Event()

    class Counting(ReachabilityRounds):
        def ask(self, targets: Iterable[ProbeTarget]) -> dict[str, Reachability]:
            with self._asking:
                asked.extend(target.gateway for target in targets)
                if len(asked) == 2 * len(deployment.gateways):
                    everybody_asked.set()
            return super().ask(targets)

        def _round(self, targets: Sequence[ProbeTarget]) -> dict[str, Reachability]:
            rounds.append({target.gateway for target in targets})
            if len(rounds) == 2:
                assert everybody_asked.wait(30)
                host.answers = all_answers
            return super()._round(targets)

    monkeypatch.setattr(runner, "ReachabilityRounds", Counting)
    report = runner.verify(deployment, wait=0, progress=lambda line: None)
    assert {one.checks[6].verdict.value for one in report.gateways} == {"pass"}
    everybody = set(deployment.gateways)
    assert rounds[0] == everybody
    assert len(rounds) <= 3
    assert set().union(*rounds[1:]) == everybody


@pytest.mark.parametrize("count", [2, 3, 18, 40])
def test_each_is_tried_from_its_own_network_and_from_others_alone(count: int) -> None:
    deployment = gateways(count)
    host = VerifyingDocker(EGRESS, *map(api_of, deployment.gateways))
    for name in deployment.gateways:
        host.answers[api_of(name), f"{address(api_of(name))}:4004"] = "api"
    views = look(host, deployment)
    for name in deployment.gateways:
        answers = views[name].answers
        assert answers[Origin.INSIDE] == {
            f"{address_of(name)}:4004": "unreachable",
            f"{address(api_of(name))}:4004": "api",
        }
        assert set(answers[Origin.OTHER_API].values()) == {"unreachable"}
        assert not views[name].failed
    # A throwaway bridge, egress, and two api networks: a network more is what costs.
    assert [len(probe.networks) for probe in host.probes] == [1] * 4


@pytest.mark.parametrize(("of", "at"), [("a", "b"), ("d", "a")])
def test_an_answer_in_the_others_network_counts(of: str, at: str) -> None:
    deployment = gateways(6)
    host = VerifyingDocker(EGRESS, *map(api_of, deployment.gateways))
    host.answers[api_of(at), f"{address_of(of)}:4004"] = "api"
    views = look(host, deployment)
    assert views[of].answers[Origin.OTHER_API][f"{address_of(of)}:4004"] == "api"


def address_of(name: str) -> str:
    return f"192.0.2.{26 * (len(name) - 1) + ord(name[-1]) - ord('a') + 1}"


def look(host: VerifyingDocker, deployment: Deployment) -> dict[str, Reachability]:
    targets = [ProbeTarget(name, (address_of(name), address(api_of(name))), ()) for name in deployment.gateways]
    return looked(host, deployment, targets)
