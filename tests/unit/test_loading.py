"""What a command loads: each module is a part of the time that somebody waits for it."""

import json
import subprocess
import sys

import pytest

# What only the program of a stack, its tests or a bot needs, and what docker-py would load for an ssh that is not ours.
HEAVY = ("pulumi", "pulumi_docker", "boto3", "moto", "ib_async", "paramiko", "cryptography")
# What a command of these does not need beside them.
BESIDE = ("infra.settings", "yaml", "xml.etree", "operations.promotion", "operations.plan")
MODULES = {
    "help": "operations.cli",
    "status": "operations.commands.status, operations.described, healthcheck.docker_host, operations.status",
    "verify": "operations.commands.verify, operations.described, operations.verification, operations.formats",
}


@pytest.mark.parametrize(
    ("command", "unwanted"),
    [
        ("help", (*HEAVY, *BESIDE, "pydantic", "docker", "rich", "healthcheck")),
        ("status", (*HEAVY, *BESIDE, "rich")),
        ("verify", (*HEAVY, *BESIDE, "rich")),
    ],
)
def test_a_command_loads_what_it_needs_and_nothing_heavy(command: str, unwanted: tuple[str, ...]) -> None:
    run = "operations.cli.run(['--help'])" if command == "help" else "0"
    script = f"import sys, json, {MODULES[command]}; {run}; print(); print(json.dumps(sorted(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    loaded = json.loads(printed.splitlines()[-1])
    assert [
        name for name in loaded if name.startswith(tuple(f"{name}." for name in unwanted)) or name in unwanted
    ] == []


def test_docker_py_keeps_its_classes_for_ssh_and_nobody_meets_the_stand_in() -> None:
    script = (
        "from healthcheck.docker_py import sshconn as ours; import paramiko; print(ours.__file__, paramiko.__file__)"
    )
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert printed.count("sshconn.py") == printed.count("paramiko/__init__.py") == 1
