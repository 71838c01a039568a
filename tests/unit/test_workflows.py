"""The workflows of .github: what they may, what they run, and that their checks notice what is wrong."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.settings import Verifier

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github" / "workflows"
MAKEFILE = (ROOT / "Makefile").read_text()
RENOVATE = json.loads((ROOT / "renovate.json").read_text())
Node = dict[str, Any]

WORKFLOWS: dict[str, Node] = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yml"))}
JOBS: dict[str, Node] = {f"{name}/{job}": body for name, one in WORKFLOWS.items() for job, body in one["jobs"].items()}


def text(name: str) -> str:
    return (FOLDER / f"{name}.yml").read_text()


def events(workflow: Node) -> set[str]:
    """YAML 1.1 reads the key `on` as true."""
    return set(workflow[True])  # type: ignore[index]


def scripts(jobs: dict[str, Node] = JOBS) -> list[str]:
    return [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]


def commands(script: str) -> Iterator[list[str]]:
    """The simple commands of a script, without the words of the shell and of sudo before them."""
    lexer = shlex.shlex(script.replace("\\\n", " "), posix=True, punctuation_chars="|;&\n")
    lexer.whitespace, lexer.commenters, lexer.whitespace_split = " \t", "", True
    before = {"{", "}", "while", "do", "done", "sudo", "-E", "env", "PATH=$PATH"}
    command: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set("|;&\n"):
            if command:
                yield command
            command = []
        elif command or not (word in before or word.startswith(">")):
            command.append(word)


def targets(script: str) -> list[str]:
    return [
        word
        for command in commands(script)
        if command[0] == "make"
        for word in command[1:]
        if not word.startswith(("-", ">")) and "=" not in word
    ]


def recipe(target: str) -> str:
    """A target's recipe as make would run it, without running it."""
    command = ["make", "--no-print-directory", "--dry-run", "--old-file=environment", target, "STACK=paper"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout


def test_there_are_the_workflows_that_the_document_names() -> None:
    named = set(re.findall(r"`([a-z]+)\.yml`", (ROOT / "docs" / "ci.md").read_text()))
    assert set(WORKFLOWS) == named == {"checks", "previews", "comment", "stacks", "promotion"}


def test_the_projects_work_is_make_targets_that_exist() -> None:
    plumbing = {"git", "gh", "umask", "mkdir", "printf", "echo", "cp", "find", "sort", "xargs", "head", "tee", "read"}
    run = [command for script in scripts() for command in commands(script)]
    assert {command[0] for command in run} - plumbing == {"make"}
    called = {target for script in scripts() for target in targets(script)}
    assert called == {"test", "sandbox", "previews", "environment", "tools", "plan", "drift", "release"}
    assert called <= set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


def test_nothing_deploys_a_real_stack() -> None:
    for name in WORKFLOWS:
        assert "pulumi up" not in text(name)
        assert not re.search(r"ibgw (promote|rollback|start|stop|restart|login|repair)", text(name))
    with_identity = {name: job for name, job in JOBS.items() if "environment" in job}
    reached = {target for script in scripts(with_identity) for target in targets(script)}
    assert reached == {"environment", "tools", "plan", "drift", "release"}
    for target in reached - {"environment"}:
        assert not re.search(r"\bpulumi (up|destroy|refresh|import)\b", recipe(target)), target
    assert "ibgw plan --stack paper" in recipe("plan")
    assert "ibgw drift --stack paper" in recipe("drift")
    assert re.findall(r"ibgw promote.*", MAKEFILE) == ["ibgw promote --from paper --to live --prepare"]
    # The one deployment of the Makefile is of the sandbox's paper.
    assert re.findall(r"\$\(SANDBOX\) .*--deploy (\w+)", MAKEFILE) == ["paper"]
    assert "pulumi up" not in re.sub(r"echo '.*'", "", MAKEFILE)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_only_read_unless_a_job_says_more(name: str) -> None:
    workflow = WORKFLOWS[name]
    assert workflow["permissions"] in ({}, {"contents": "read"})
    assert "pull_request_target" not in events(workflow)
    assert workflow["concurrency"]["group"]


def test_what_more_a_job_may() -> None:
    assert {name: job["permissions"] for name, job in JOBS.items() if "permissions" in job} == {
        "comment/comment": {"actions": "read", "pull-requests": "write"},
        "promotion/prepare": {"contents": "read", "id-token": "write"},
        "promotion/propose": {"actions": "read", "contents": "write", "pull-requests": "write"},
        "stacks/stack": {"contents": "read", "id-token": "write"},
    }


@pytest.mark.parametrize("name", [name for name, one in WORKFLOWS.items() if "pull_request" in events(one)])
def test_a_pull_request_gets_no_identity(name: str) -> None:
    assert not re.search(r"secrets|vars\.|id-token|environment:|write", text(name))


@pytest.mark.parametrize("name", JOBS)
def test_a_cloud_identity_needs_a_protected_environment_and_reviewed_code(name: str) -> None:
    job = JOBS[name]
    may_ask = "id-token" in job.get("permissions", {})
    uses_aws = any(step.get("uses", "").startswith("aws-actions/") for step in job["steps"])
    holds = bool(re.search(r"secrets\.|vars\.", json.dumps(job)))
    assert may_ask == uses_aws == holds == ("environment" in job)
    if may_ask:
        assert job["if"] == "github.ref == 'refs/heads/main'"
        assert events(WORKFLOWS[name.partition("/")[0]]) <= {"push", "schedule", "workflow_dispatch"}


def test_the_job_that_comments_runs_nothing_of_the_pull_request() -> None:
    assert events(WORKFLOWS["comment"]) == {"workflow_run"}
    assert WORKFLOWS["comment"][True]["workflow_run"]["workflows"] == [WORKFLOWS["previews"]["name"]]  # type: ignore[index]
    steps = JOBS["comment/comment"]["steps"]
    assert [step for step in steps if "uses" in step] == []
    # What comes from the event reaches a script as a variable, never as a part of it.
    assert "${{" not in "".join(scripts())


@pytest.mark.parametrize("name", JOBS)
def test_every_job_ends_by_itself_and_leaves_no_token_behind(name: str) -> None:
    job = JOBS[name]
    assert 5 <= job["timeout-minutes"] <= 90
    checkouts = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_the_tests_get_the_commit_that_an_upgrade_begins_at() -> None:
    """tests/engine/test_upgrade.py; actions/checkout fetches one commit unless it is told."""
    [checkout] = [step for step in JOBS["checks/test"]["steps"] if "uses" in step]
    assert checkout["with"]["fetch-depth"] == 0


def test_every_action_is_pinned_by_commit_and_renovate_keeps_it_so() -> None:
    used = re.findall(r"uses: *(.+)", "".join(text(name) for name in WORKFLOWS))
    assert len(used) == 9
    assert [one for one in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one)] == []
    assert "helpers:pinGitHubActionDigests" in RENOVATE["extends"]


def make_uv(cache: Path, installed: str | None) -> list[str]:
    """Runs `make uv` with an environment that has this version; returns what pip was asked for."""
    folder, asked = cache / "ibgw" / "uv" / "bin", cache / "asked"
    folder.mkdir(parents=True)
    tools = {"pip": f'echo "$*" >>{asked}', "python3": "exit 0"}
    if installed is not None:
        tools["uv"] = f"echo 'uv {installed} (x86_64-unknown-linux-gnu)'"
    for name, script in tools.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    env = {"PATH": f"{folder}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(cache)}
    subprocess.run(["make", "uv"], cwd=ROOT, env=env, check=True, capture_output=True, timeout=60)
    return asked.read_text().splitlines() if asked.exists() else []


def test_uv_is_installed_by_version_and_hash_and_the_one_on_path_is_not_asked(tmp_path: Path) -> None:
    pin = (ROOT / ".ci" / "requirements-uv.txt").read_text()
    [version] = re.findall(r"^uv==(\d+\.\d+\.\d+) \\$", pin, re.MULTILINE)
    lines = [line for line in pin.splitlines() if not line.startswith("#")][1:]
    assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line) for line in lines)
    assert len(lines) > 1

    installs = "install --quiet --disable-pip-version-check --require-hashes --requirement .ci/requirements-uv.txt"
    assert make_uv(tmp_path / "ours", version) == []
    for number, other in enumerate((None, "0.0.1", f"{version}1", version[:-1], "")):
        assert make_uv(tmp_path / str(number), other) == [installs]
    # Nothing else installs anything but what uv.lock pins; `environment` needs that uv and runs no other.
    assert re.findall(r"^environment: (.*)$", MAKEFILE, re.MULTILINE) == ["uv"]
    assert MAKEFILE.count("pip install") == 1
    assert not re.search(r"pip install|setup-uv|curl|wget", "".join(scripts()) + "".join(map(text, WORKFLOWS)))


# What make lint makes of a workflow that somebody broke


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["make", "--old-file=environment", "workflows", f"WORKFLOWS={folder}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)


@pytest.mark.parametrize(
    ("name", "before", "after", "found"),
    [
        ("promotion", "needs: prepare", "needs: prepared", 'needs job "prepared" which does not exist'),
        ("stacks", "github.event_name != 'push'", "github.evnt_name != 'push'", 'property "evnt_name" is not defined'),
        ("checks", "@de0fac2e4500dabe0009e67214ff5f5447ce83dd", "@v6", "unpinned-uses"),
        ("checks", "          persist-credentials: false\n", "", "artipacked"),
        ("checks", "  pull_request:", "  pull_request_target:", "dangerous-triggers"),
        ("previews", '"$GITHUB_SHA"', "${{ github.head_ref }}", '"github.head_ref" is potentially untrusted'),
        ("stacks", "permissions:\n  contents: read\n\n", "", "excessive-permissions"),
    ],
)
def test_a_broken_workflow_is_found(tmp_path: Path, name: str, before: str, after: str, found: str) -> None:
    shutil.copytree(FOLDER, tmp_path / ".github" / "workflows")
    broken = tmp_path / ".github" / "workflows" / f"{name}.yml"
    assert before in broken.read_text()
    broken.write_text(broken.read_text().replace(before, after))
    done = check(broken.parent)
    assert done.returncode != 0
    assert found in done.stdout + done.stderr


def test_lint_checks_the_workflows() -> None:
    assert re.search(r"^lint: .*\bworkflows\b", MAKEFILE, re.MULTILINE)
    assert check(FOLDER).returncode == 0


# The scripts, with a `gh` that only writes down what it is asked


def run(script: str, folder: Path, **variables: str) -> list[str]:
    """Runs a step's script as GitHub does; returns what was asked of gh."""
    gh = folder / "bin" / "gh"
    gh.parent.mkdir(exist_ok=True)
    asked = folder / "asked"
    gh.write_text(f'#!/bin/sh\necho "$*" >>{asked}\ncase "$*" in "pr list"*) echo 17;; esac\n')
    gh.chmod(0o755)
    env = {
        "PATH": f"{gh.parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "GITHUB_ACTOR": "ann",
        "GITHUB_ACTOR_ID": "7",
        **variables,
    }
    work = folder / "work"
    work.mkdir(exist_ok=True)
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    subprocess.run(command, cwd=work, env=env, check=True, capture_output=True, timeout=60)
    return asked.read_text().splitlines() if asked.exists() else []


def test_the_comment_shows_the_plans_and_follows_no_link(tmp_path: Path) -> None:
    plans = tmp_path / "work" / "plans"
    plans.mkdir(parents=True)
    (plans / "paper.md").write_text("**paper**: no change\n")
    (plans / "live.md").write_text("### Plan for `live`\n" + "x" * 70_000)
    (tmp_path / "secret").write_text("hidden")
    (plans / "other.md").symlink_to(tmp_path / "secret")
    _, write, send = scripts({"comment": JOBS["comment/comment"]})
    run(write, tmp_path, COMMIT="abc")
    comment = (tmp_path / "work" / "comment.md").read_text()
    assert comment.startswith(
        "What abc would do, as its own code says, in a sandbox:\n\n**paper**: no change\n### Plan"
    )
    assert "hidden" not in comment
    assert len(comment) == 60_000  # GitHub takes 65536 characters
    assert run(send, tmp_path, COMMIT="abc")[-1] == "pr comment 17 --edit-last --create-if-none --body-file comment.md"


def test_the_promotion_proposes_the_two_files_and_nothing_else(tmp_path: Path) -> None:
    def git(*words: str, folder: Path) -> str:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout

    work, origin, artifact = tmp_path / "work", tmp_path / "origin", tmp_path / "release"
    for folder in (work, origin, artifact / "releases"):
        folder.mkdir(parents=True)
    git("init", "--quiet", "--bare", folder=origin)
    git("init", "--quiet", "--initial-branch=main", folder=work)
    git("remote", "add", "origin", str(origin), folder=work)
    (work / "Pulumi.live.yaml").write_text("config:\n  ibgw:mode: live\n")
    git("add", ".", folder=work)
    git("-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "--quiet", "--message=one", folder=work)
    (artifact / "Pulumi.live.yaml").write_text("config:\n  ibgw:mode: live\n  ibgw:release: 2026-11-23-abc\n")
    (artifact / "releases" / "2026-11-23-abc.json").write_text("{}\n")

    asked: list[str] = []
    for script in scripts({"propose": JOBS["promotion/propose"]}):
        asked = run(script, tmp_path, RUNNER_TEMP=str(tmp_path), GITHUB_RUN_ID="5", BRANCH="release/5")
    assert asked == [
        f"run download 5 --name release --dir {artifact}",
        "auth setup-git",
        "pr create --base main --head release/5 --fill",
    ]
    pushed = git("show", "--name-only", "--format=%s by %ae", "release/5", folder=origin).split("\n")
    assert [line for line in pushed if line] == [
        "Release for live: 2026-11-23-abc by 7+ann@users.noreply.github.com",
        "Pulumi.live.yaml",
        "releases/2026-11-23-abc.json",
    ]


# Renovate


def patterns() -> list[tuple[Node, str]]:
    """Each custom manager with its expression; Python spells named groups with a P."""
    found = [(one, expression) for one in RENOVATE["customManagers"] for expression in one["matchStrings"]]
    return [(one, expression.replace("(?<", "(?P<")) for one, expression in found]


@pytest.mark.parametrize(
    ("manager", "file", "setting"),
    [(0, "Pulumi.paper.yaml", "image"), (1, "Pulumi.paper.yaml", "base"), (1, "Pulumi.live.yaml", "base")],
)
def test_renovate_finds_the_images_of_the_stacks(manager: int, file: str, setting: str) -> None:
    one, expression = patterns()[manager]
    config = yaml.safe_load((ROOT / file).read_text())["config"]
    tracked = config["ibgw:image"] if setting == "image" else config["ibgw:verifier"]["baseImage"]
    assert any(re.search(pattern.strip("/"), file) for pattern in one["managerFilePatterns"])
    (found,) = re.finditer(expression, (ROOT / file).read_text())
    digest = f"@{found['currentDigest']}" if setting == "base" else ""
    assert f"{found['depName']}:{found['currentValue']}{digest}" == tracked


def test_the_base_image_is_one_by_full_version_and_digest_that_renovate_moves_everywhere_at_once() -> None:
    one, expression = patterns()[1]
    files = ("Pulumi.paper.yaml", "Pulumi.live.yaml", "infra/settings.py")
    assert all(any(re.search(p.strip("/"), file) for p in one["managerFilePatterns"]) for file in files)
    found = {match.groups() for file in files for match in re.finditer(expression, (ROOT / file).read_text())}
    [(name, version, digest)] = found
    assert re.fullmatch(r"3\.11\.\d+-slim-bookworm", version)
    assert Verifier().base_image == f"{name}:{version}@{digest}"
    [rule] = [rule for rule in RENOVATE["packageRules"] if rule.get("pinDigests")]
    assert rule["matchPackageNames"] == [name]
    # The one place more that could name one.
    assert re.findall(r"^ARG .*", (ROOT / "healthcheck" / "Dockerfile").read_text(), re.MULTILINE) == ["ARG BASE_IMAGE"]


def test_renovate_proposes_only_full_versions_of_the_gateway() -> None:
    (rule,) = [one for one in RENOVATE["packageRules"] if one.get("matchPackageNames") == ["ghcr.io/gnzsnz/ib-gateway"]]
    allowed = re.compile(rule["allowedVersions"].strip("/"))
    assert [tag for tag in ("10.45.1j", "10.50.1d", "10.45", "stable", "latest") if allowed.search(tag)] == [
        "10.45.1j",
        "10.50.1d",
    ]


def test_renovate_leaves_live_to_the_promotion() -> None:
    one, _ = patterns()[0]
    assert not any(re.search(pattern.strip("/"), "Pulumi.live.yaml") for pattern in one["managerFilePatterns"])
