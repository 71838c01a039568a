"""What `make sandbox` shows of `pulumi up`, out of what the engine prints where there is no terminal."""

import os
from pathlib import Path

import pytest

from sandbox.deploy import deploy, follow

PRINTED = """\
Updating (paper):
Loading policy packs...: done

@ updating....
 +  pulumi:pulumi:Stack ibgw-paper creating (0s)
 +  docker:index:Image verifier-image creating (0s)
 +  docker:index:Network egress created (0.23s)
@ updating.............
 +  docker:index:Image verifier-image created (12s)
 ~  ibgw:gateway:Gateway main updated (0.1s) [diff: ~secretVersion]
 ++ docker:index:Container main created replacement (0.9s) [diff: ~uploads]
 +  pulumi:pulumi:Stack ibgw-paper creating (13s) info: main: starting the verifier
@ updating......
 +  pulumi:pulumi:Stack ibgw-paper creating (16s) info: paper/main  paper  VERIFIED
 +  pulumi:pulumi:Stack ibgw-paper creating (16s)   ok    reachable         main:4004 accepts, in 5 ms
 +  pulumi:pulumi:Stack ibgw-paper created (16s) 11 messages
Diagnostics:
  pulumi:pulumi:Stack (ibgw-paper):
    info: main: starting the verifier
    info: paper/main  paper  VERIFIED
      ok    reachable         main:4004 accepts, in 5 ms

Resources:
    + 11 created

Duration: 17s

"""


def test_what_is_done_is_counted_and_the_report_shown_once() -> None:
    said: list[str] = []
    summary = follow(PRINTED.splitlines(keepends=True), said.append)
    assert said == [
        "1: docker:index:Network egress created",
        "2: docker:index:Image verifier-image created",
        "3: ibgw:gateway:Gateway main updated",
        "4: docker:index:Container main created replacement",
        "main: starting the verifier",
    ]
    assert summary[0] == "Diagnostics:"
    assert summary[-1] == "Duration: 17s"
    assert "\n".join([*said, *summary]).count("VERIFIED") == 1


def test_the_engines_command_and_its_exit_code_are_told(tmp_path: Path) -> None:
    (tmp_path / "pulumi").write_text('#!/bin/sh\necho Diagnostics:\necho "$STATE is locked"\nexit 4\n')
    (tmp_path / "pulumi").chmod(0o755)
    said: list[str] = []
    assert deploy("paper", {"PATH": f"{tmp_path}:{os.defpath}", "STATE": "this one"}, said.append) == 4
    assert said == [
        "deploying it: pulumi up --yes --skip-preview --suppress-outputs --stack paper",
        "Diagnostics:",
        "this one is locked",
    ]


def test_a_missing_engine_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        deploy("paper", {"PATH": str(tmp_path)}, lambda text: None)
