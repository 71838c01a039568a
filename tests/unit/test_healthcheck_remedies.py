"""What each reason tells to do, for every state that it can be told of: commands that can be run as they stand, in the
order in which to run them."""

import itertools
import re
from typing import Any

import pytest

from deployment.description import Mode
from deployment.docker_address import LOCAL
from healthcheck.automation.base import REASONS
from healthcheck.automation.ibc import PROFILE
from healthcheck.gateway_container import NO_CAUSE
from healthcheck.observation import HELD, STRANGERS, Observation
from healthcheck.reasons import EXPLANATIONS, Reason, Retry, Side
from healthcheck.remedies import GUARDED, steps
from tests.unit.commands import check_text
from tests.unit.gateways import gateway

HOSTS = (LOCAL, "ssh://trader@gateways.example:2222")
STRANGER = {STRANGERS: ["bot", "other-bot"]}

# What can stand behind a gateway that does not run, or that waits.
SEEN = {*REASONS.values(), *PROFILE.exit_reasons.values(), Reason.OUT_OF_MEMORY, Reason.SESSION_STRANDED}
CAUSES = (None, *sorted(SEEN - NO_CAUSE))

# If both are told, this one first. By a command's beginning.
ORDER = [
    ("ibgw stop", "ibgw start"),
    ("ibgw stop", "ibgw logs"),
    ("ibgw stop", "docker rm"),
    ("ibgw credentials put", "pulumi up"),
    ("ibgw credentials put", "ibgw rollout"),
    ("ibgw credentials put", "ibgw start"),
    ("ibgw credentials put", "ibgw login"),
    ("pulumi up", "ibgw start"),
    ("pulumi refresh", "ibgw rollout"),
    ("docker rm", "pulumi up"),
    ("docker rm", "ibgw repair"),
    ("ibgw repair", "pulumi up"),
    ("ibgw repair", "ibgw rollout"),
    ("docker unpause", "ibgw verify"),
    ("docker network inspect", "ibgw repair"),
    ("docker network inspect", "ibgw verify"),
    ("docker stats", "ibgw restart"),
    ("ibgw logs", "ibgw login"),
    ("ibgw logs", "ibgw restart"),
]


def told(reason: Reason, mode: Mode, **more: object) -> list[str]:
    """The commands of a remedy, each checked, without the Docker host that they name."""
    host = str(more.pop("host", LOCAL))
    changes: dict[str, Any] = {
        "mode": mode,
        "account_kind": mode,
        "secret": {"id": f"ibgw/{mode}/main", "version_id": "v1"},
    }
    observation = Observation("seen", reason, **more)  # type: ignore[arg-type]
    todo = steps(observation, gateway(**changes), mode.value, host)
    assert todo
    assert all(todo)
    assert len(set(todo)) == len(todo)
    found = [command for step in todo for command in check_text(step)]
    assert all(host in one for one in found if one.startswith("docker ") and host != LOCAL)
    return [one.replace(f"--host {host} ", "") for one in found]


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("reason", Reason)
def test_every_remedy_can_be_run_as_it_stands_and_in_its_order(reason: Reason, mode: Mode) -> None:
    for retry, host, data in itertools.product(Retry, HOSTS, ({}, STRANGER, {HELD: True})):
        found = told(reason, mode, retry=retry, host=host, data=data)
        check_order(found)
        if mode is Mode.LIVE:
            # Only the verifier's image, which no gateway runs, is made by the engine alone.
            assert [one for one in found if one.startswith("pulumi up") and "--target-replace" not in one] == []


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("reason", [Reason.STOPPED, Reason.CRASH_LOOPING, Reason.LOGIN_DELAYED])
def test_what_is_behind_it_comes_before_what_starts_it(reason: Reason, mode: Mode) -> None:
    for because, retry in itertools.product(CAUSES, Retry):
        found = told(reason, mode, because=because, retry=retry)
        check_order(found)
        starts = [at for at, one in enumerate(found) if one.startswith("ibgw start")]
        assert len(starts) <= 1
        assert starts in ([], [len(found) - 1]), "after the start nothing is left to do"


def check_order(found: list[str]) -> None:
    for first, second in ORDER:
        firsts = [at for at, one in enumerate(found) if one.startswith(first)]
        seconds = [at for at, one in enumerate(found) if one.startswith(second)]
        if firsts and seconds:
            assert firsts[0] < seconds[0], (first, second, found)


@pytest.mark.parametrize(
    ("retry", "command"),
    [(Retry.RESTART, "ibgw restart"), (Retry.START, "ibgw start"), (Retry.AGAIN, "ibgw login --again")],
)
@pytest.mark.parametrize(
    "reason",
    [one for one in Reason if any("{login}" in step for step in EXPLANATIONS[one].remedy) and one not in GUARDED],
)
def test_the_next_login_follows_from_the_state(reason: Reason, retry: Retry, command: str) -> None:
    found = told(reason, Mode.PAPER, retry=retry)
    assert f"{command} --stack paper --gateway main" in found
    others = {"ibgw restart", "ibgw start", "ibgw login --again"} - {command}
    assert not [one for one in found for other in others if one.startswith(other)]


@pytest.mark.parametrize("reason", [one for one in Reason if EXPLANATIONS[one].side is not Side.NOBODY])
def test_whatever_is_held_is_told_how_to_let_it_go(reason: Reason) -> None:
    found = told(reason, Mode.PAPER, retry=Retry.AGAIN, data={HELD: True})
    assert "ibgw login --again --stack paper --gateway main" in found


def test_a_stranger_is_named_and_one_who_is_gone_is_not_detached() -> None:
    assert told(Reason.UNDECLARED_CLIENT, Mode.PAPER, data=STRANGER)[:2] == [
        "docker network disconnect ibgw-paper-main-api bot",
        "docker network disconnect ibgw-paper-main-api other-bot",
    ]
    assert told(Reason.UNDECLARED_CLIENT, Mode.PAPER, data={STRANGERS: []}) == ["pulumi up --stack paper"]


@pytest.mark.parametrize(
    "reason", [Reason.COMPETING_SESSION, Reason.SESSION_TAKEN_OVER, Reason.SERVER_UNREACHABLE, Reason.LATE_FORM]
)
def test_no_other_cause_asks_for_a_new_secret(reason: Reason) -> None:
    for retry in Retry:
        for outer in (Reason.STOPPED, Reason.CRASH_LOOPING, Reason.GUARD_HELD, reason):
            because = reason if outer is not reason else None
            assert not [
                one for one in told(outer, Mode.PAPER, because=because, retry=retry) if "credentials put" in one
            ]


def test_what_has_no_reason_needs_nothing() -> None:
    assert steps(Observation("fine"), gateway(), "paper") == ()


def test_every_reason_is_explained() -> None:
    assert set(EXPLANATIONS) == set(Reason)
    for reason, explanation in EXPLANATIONS.items():
        assert explanation.meaning.endswith("."), reason
        assert not re.search(r"[.;]$", explanation.remedy[-1]), reason
