"""A settings volume that was lost with its counts: who is held, and what is made in its place."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pulumi
import pytest

from deployment.tables import Kind
from healthcheck.automation.base import OUTCOMES, LoginState, Reading
from healthcheck.reasons import Reason
from infra import lost_volumes, settings, spec
from infra.host import HostObject
from infra.verification import ONLY
from tests.stack.conftest import Program
from tests.unit.fake_docker import FakeDocker
from tests.unit.test_settings import SECOND, as_engine, changed, tracked

VERSION = "11111111-2222-3333-4444-555555555555"
OURS = {"ibgw.prefix": "ibgw", "ibgw.project": "ibgw", "ibgw.stack": "paper"}
VOLUME = HostObject("volume", "ibgw-paper-main-settings", OURS)


def contract(version: str = VERSION) -> dict[str, Any]:
    main = {"volumes": {"settings": VOLUME.name}, "secret": {"id": "ibgw/paper/main", "version_id": version}}
    return {"schema": 1, "gateways": {"main": main}}


def test_a_first_deployment_is_not_held(program: Program) -> None:
    program.run()
    assert program.held == []


def test_what_the_state_says_was_deployed_is_held_where_its_volume_is_gone(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    program.exported = {"contract": contract()}
    warnings: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", warnings.append)
    program.run(preview=True)
    assert program.held == [], "a preview makes nothing"
    [told] = warnings
    assert f"gateway main: its settings volume {VOLUME.name} is not on this Docker host" in told
    assert "`ibgw login --again --stack paper --gateway main`" in told
    program.run()
    [(gateways, before)] = program.held
    assert gateways == ["main"]
    assert "gateway-image" in before
    assert "main-settings" not in before, "the volume is there before it is declared"


def test_so_is_what_an_update_on_this_machine_left_where_the_state_is_lost_too(
    program: Program, tmp_path: Path
) -> None:
    program.kept = tmp_path / "paper.json"
    program.kept.write_text(json.dumps(contract()))
    program.run()
    assert [gateways for gateways, _ in program.held] == [["main"]]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"gateways": {}}'])
def test_a_description_that_tells_nothing_holds_nobody(program: Program, tmp_path: Path, text: str) -> None:
    program.kept = tmp_path / "paper.json"
    program.kept.write_text(text)
    program.run()
    assert program.held == []


def test_a_volume_that_is_there_remembers_by_itself(program: Program) -> None:
    program.exported = {"contract": contract()}
    for container in ("ibgw-paper-main", "ibgw-paper-main-settings-owner"):
        program.run(on_host=(VOLUME, HostObject("container", container, OURS)))
    assert program.held == []


def test_so_is_one_whose_records_are_all_lost_where_its_network_is_left(program: Program) -> None:
    """The volume is made first, so that a first deployment that was killed has no network without it."""
    network = HostObject("network", "ibgw-paper-main-api", OURS)
    program.run(on_host=(network,))
    assert [gateways for gateways, _ in program.held] == [["main"]]
    program.held.clear()
    program.run(on_host=(network, VOLUME))
    program.run(on_host=(HostObject("network", "ibgw-paper-egress", OURS),))
    assert program.held == []
    # Where there is a record, it says which version was tried.
    program.exported = {"contract": contract("another")}
    program.run(on_host=(network,))
    assert program.held == []


def test_a_network_is_declared_after_the_volumes(program: Program) -> None:
    names = [one.name for one in program.run().engine.resources]
    assert names.index("main-settings") < names.index("main-api")


def test_a_volume_without_a_container_is_looked_into(program: Program) -> None:
    """As an update leaves it that was killed between making it and writing its count."""
    program.exported = {"contract": contract()}
    program.run(on_host=(VOLUME,))
    assert [gateways for gateways, _ in program.held] == [["main"]]


def test_a_version_that_was_never_tried_starts_at_zero(program: Program) -> None:
    program.exported = {"contract": contract("another")}
    program.run()
    assert program.held == []


def test_an_update_of_other_gateways_makes_none(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ONLY, "second")
    program.exported = {"contract": contract()}
    good = json.dumps({"user_id": "one", "password": "word", "trading_mode": "paper"})
    other = json.dumps({"user_id": "two", "password": "word", "trading_mode": "paper"})
    program.run(
        config=changed("paper", {"ibgw:gateways.second": SECOND}),
        secrets={"ibgw/paper/main": good, SECOND["credentials"]["secretId"]: other},
    )
    assert [gateways for gateways, _ in program.held] == [[]]


def test_the_volume_has_the_stacks_labels_and_a_count_that_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    docker = FakeDocker()
    monkeypatch.setattr(lost_volumes, "DockerHost", lambda _: docker)
    loaded = settings.load("paper", as_engine(tracked("paper")))
    stack = spec.describe(loaded, project="ibgw", stack="paper", image=loaded.image)
    [host] = stack.hosts
    lost_volumes.make(stack, host, "sha256:image", host.gateways.values(), {"main": VERSION})
    assert OURS.items() <= docker.objects[Kind.VOLUME][VOLUME.name]["Labels"].items()
    assert [name for name, *_ in docker.done] == ["create_volume", "create", "write_archive", "remove"]
    [[_, options]] = docker.did("create")
    assert options["volumes"] == {VOLUME.name: spec.SETTINGS_PATH}
    [[_, folder, written]] = docker.did("write_archive")
    assert folder == spec.SETTINGS_PATH
    with tarfile.open(fileobj=io.BytesIO(written)) as archive:
        assert {(entry.name, entry.uid, entry.gid) for entry in archive} == {
            ("guard", 1000, 1000),
            (f"guard/{VERSION}.attempts", 1000, 1000),
        }
        file = archive.extractfile(f"guard/{VERSION}.attempts")
        assert file is not None
        count, outcome = file.read().decode().splitlines()
    assert count == "2"
    assert outcome.split()[1] in OUTCOMES


def test_a_count_that_is_there_is_not_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after `pulumi destroy`, which leaves the volume and no container."""
    docker = FakeDocker()
    docker.files[f"{spec.SETTINGS_PATH}/guard/{VERSION}.attempts"] = "0\n"
    monkeypatch.setattr(lost_volumes, "DockerHost", lambda _: docker)
    loaded = settings.load("paper", as_engine(tracked("paper")))
    stack = spec.describe(loaded, project="ibgw", stack="paper", image=loaded.image)
    [host] = stack.hosts
    lost_volumes.make(stack, host, "sha256:image", host.gateways.values(), {"main": VERSION})
    assert [name for name, *_ in docker.done] == ["create_volume", "create", "remove"]


def test_a_gateway_that_is_held_for_it_says_so() -> None:
    reading = Reading(LoginState.GUARD_HELD, outcome=OUTCOMES[lost_volumes.OUTCOME])
    assert reading.reason is Reason.VOLUME_LOST
    assert reading.held
