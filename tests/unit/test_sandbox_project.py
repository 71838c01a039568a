"""The generated project folder: the tracked files, with what must differ replaced and nothing else."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from deployment.errors import IbgwError
from sandbox import project

ROOT = Path(__file__).resolve().parent.parent.parent
GATEWAY = "127.0.0.1:5999/ibgw-x-gateway@sha256:" + "ab" * 32


def tracked(name: str) -> dict[str, Any]:
    found = yaml.safe_load((ROOT / name).read_text())
    assert isinstance(found, dict)
    return found


def differences(before: Any, after: Any, where: str = "") -> dict[str, Any]:
    """Path -> new value of every leaf that is not the same."""
    if isinstance(before, dict) and isinstance(after, dict):
        found: dict[str, Any] = {}
        for key in {*before, *after}:
            found |= differences(before.get(key), after.get(key), f"{where}/{key}")
        return found
    return {} if before == after and type(before) is type(after) else {where: after}


@pytest.mark.parametrize("stack", ["paper", "live"])
def test_only_docker_host_prefix_images_differ_and_live_is_given_none(stack: str) -> None:
    before = tracked(f"Pulumi.{stack}.yaml")
    after = project.stack(
        before, docker_host="unix:///run/other.sock", prefix="ibgw-x", image=GATEWAY, base_image="ibgw-x-base:1"
    )
    assert differences(before, after) == {
        "/config/ibgw:dockerHost": "unix:///run/other.sock",
        "/config/ibgw:namePrefix": "ibgw-x",
        "/config/ibgw:verifier/baseImage": "ibgw-x-base:1",
        **({"/config/ibgw:image": GATEWAY} if stack == "paper" else {}),
    }


def test_a_sandbox_beside_another_has_a_subnet_pool_of_its_own_too() -> None:
    before = tracked("Pulumi.paper.yaml")
    after = project.stack(
        before, docker_host="unix:///run/o.sock", prefix="p", image=GATEWAY, base_image="b:1", pool="10.140.16.0/20"
    )
    assert differences(before, after)["/config/ibgw:network/subnetPool"] == "10.140.16.0/20"


def test_the_projects_paths_lead_into_the_checkout(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "project"
    folder.mkdir(parents=True)
    before = tracked("Pulumi.yaml")
    after = project.project(before, root=ROOT, folder=folder)
    assert set(differences(before, after)) == {"/main", "/runtime/options/virtualenv"}
    assert not Path(after["main"]).is_absolute()
    assert (folder / after["main"] / "__init__.py").resolve() == ROOT / "infra" / "__init__.py"
    assert (folder / after["runtime"]["options"]["virtualenv"]).resolve() == ROOT / ".venv"


def test_what_pulumi_wrote_for_itself_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.paper.yaml"
    project.write(path, {"config": {"ibgw:mode": "paper"}})
    path.write_text("encryptionsalt: v1:abc=:v1:def\n" + path.read_text())
    project.write(path, {"config": {"ibgw:mode": "paper", "ibgw:namePrefix": "p"}})
    assert yaml.safe_load(path.read_text()) == {
        "encryptionsalt": "v1:abc=:v1:def",
        "config": {"ibgw:mode": "paper", "ibgw:namePrefix": "p"},
    }


def test_a_release_that_a_promotion_names_stays_until_another_is_named(tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.live.yaml"
    project.write(path, {"config": {"ibgw:mode": "live", "ibgw:release": "promoted"}})
    project.write(path, {"config": {"ibgw:mode": "live", "ibgw:namePrefix": "p"}})
    assert project.read(path)["config"] == {"ibgw:mode": "live", "ibgw:namePrefix": "p", "ibgw:release": "promoted"}
    project.write(path, {"config": {"ibgw:mode": "live", "ibgw:release": "of the checkout"}})
    assert project.read(path)["config"]["ibgw:release"] == "of the checkout"


def test_who_opens_a_generated_file_reads_which_one_to_edit(tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.paper.yaml"
    assert project.write(path, {"config": {}}, source="Pulumi.paper.yaml")
    assert not project.write(path, {"config": {}}, source="Pulumi.paper.yaml")
    assert path.read_text().startswith("# Made by the sandbox out of Pulumi.paper.yaml: edit that one")


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"ibgw:gateways": None},
        {"ibgw:gateways": []},
        {"ibgw:gateways": {"main": None, "second": {"credentials": "ibgw/paper/main"}, "third": {"credentials": {}}}},
        {"ibgw:verifier": "python", "ibgw:network": 3, "ibgw:mode": "Paper"},
        {"ibgw:gateways": {"main": {"credentials": {"secretId": "s"}, "secondFactor": "push", "account": [1]}}},
    ],
)
def test_what_is_wrong_in_an_edited_file_is_left_to_the_program(config: dict[str, Any], tmp_path: Path) -> None:
    given = {"docker_host": "unix:///run/o.sock", "prefix": "p", "image": GATEWAY, "base_image": "b:1"}
    after = project.stack({"config": config}, **given, pool="10.140.16.0/20")
    for key in config.keys() & {"ibgw:gateways", "ibgw:mode"}:
        assert after["config"][key] == config[key]
    assert isinstance(after["config"]["ibgw:verifier"], str) == ("ibgw:verifier" in config)
    found = project.logins(after)
    assert [(login.secret_id, login.second_factor, login.region) for login in found] == [
        (name, "none", "us-east-1") for name in ("s",) if "s" in str(project.gateways(after))
    ]
    assert not any(project.has_placeholder(gateway) for gateway in project.gateways(after).values())
    assert project.base_image({"config": config}).startswith("docker.io/library/python:3.11")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("config:\n  a: 'b\n", ", line 3: found unexpected end of stream; put it right"),
        ("config:\n\ta: b\n", "line 2: found character '\\\\t' that cannot start any token; put it right"),
        ("config:\n  a: {b: 1}\n  a: {c: 2}\n", ", line 3: the key a is there twice; put it right"),
        ("config: {a: {b: 1, 'b': 2}}\n", ", line 1: the key b is there twice; put it right"),
        ("- a\n", " holds no mapping with one named config; put it right"),
        ("config: 3\n", " holds no mapping with one named config; put it right"),
    ],
)
def test_a_file_that_is_no_yaml_is_named_with_its_line(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.paper.yaml"
    path.write_text(text)
    with pytest.raises(IbgwError, match=said):
        project.read(path)


def test_the_stacks_are_those_that_have_a_file(tmp_path: Path) -> None:
    for name in ("Pulumi.yaml", "Pulumi.paper.yaml", "Pulumi.paper-two.yaml", "Pulumi.live.yaml.bak"):
        (tmp_path / name).touch()
    assert project.stacks(tmp_path) == ["paper", "paper-two"]


def test_a_generated_file_that_was_edited_itself_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.live.yaml"
    assert not project.edited_in_place(path)
    project.write(path, {"config": {"ibgw:mode": "live"}}, source="Pulumi.live.yaml")
    assert not project.edited_in_place(path)
    written = path.read_text()
    path.write_text(f"{written}  ibgw:release: promoted\nencryptionsalt: v1:abc=:v1:def\n")
    assert not project.edited_in_place(path), "what Pulumi and a promotion write stays"
    path.write_text(f"{written}  ibgw:platform: linux/arm64\n")
    assert project.edited_in_place(path)


def test_an_unchanged_file_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.paper.yaml"
    project.write(path, {"config": {"a": 1}})
    before = path.stat()
    project.write(path, {"config": {"a": 1}})
    after = path.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_changes_are_merged_and_none_takes_a_key_out() -> None:
    changed = project.override(
        tracked("Pulumi.paper.yaml"),
        {
            "gateways": {"main": {"container": {"probeInterval": "5s"}, "secondFactor": None}},
            "image": "other/image:10.45.1j",
        },
    )
    assert differences(tracked("Pulumi.paper.yaml"), changed) == {
        "/config/ibgw:gateways/main/container/probeInterval": "5s",
        "/config/ibgw:gateways/main/secondFactor": None,
        "/config/ibgw:image": "other/image:10.45.1j",
    }


def test_a_further_gateway_starts_as_a_copy_of_main() -> None:
    before = tracked("Pulumi.paper.yaml")
    changed = project.override(before, {"gateways": {"two": {"credentials": {"secretId": "ibgw/paper/two"}}}})
    gateways = changed["config"]["ibgw:gateways"]
    assert list(gateways) == ["main", "two"]
    assert differences(gateways["main"], gateways["two"]) == {"/credentials/secretId": "ibgw/paper/two"}
    assert before == tracked("Pulumi.paper.yaml"), "the tracked document is not changed in place"
