"""The README's way to a first real stack, and docs/account.md's part of it: each command as it stands there.

Docker and IBKR are the sandbox's. AWS is simulated, and holds who asks to the policies that were deployed to it.
"""

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from sandbox import project
from sandbox.environment import ROOT, Sandbox
from sandbox.secrets_manager import Credential
from tests.documented import REAL, Command, blocks
from tests.enforced_aws import ACCOUNT, ADMINISTRATOR, REGION, Aws, enforced_aws
from tests.engine.conftest import COMMAND_SECONDS, Completed, Tools
from tests.engine.promotions import copy_program
from tests.leaks import Scanner

pytestmark = pytest.mark.exhaustive
MEANT = {"ACCOUNT": ACCOUNT, "REGION": REGION, "TRADER": "trader", "OWNER/REPO": "example/gateways"}
ACCOUNTS = "## Deploying it"
PLANS = "ibgw-plan-paper"


@dataclass(frozen=True)
class Checkout:
    """The project's folder, as a clone has it, and its surroundings."""

    folder: Path
    env: dict[str, str]
    credential: Credential

    @property
    def scanner(self) -> Scanner:
        return Scanner(self.credential.password, self.credential.user_id)

    def bash(self, script: str, **variables: str) -> Completed:
        done = subprocess.run(
            ["bash", "-ec", script],
            env=self.env | variables,
            cwd=self.folder,
            text=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_SECONDS,
        )
        self.scanner.check({"what was said": done.stdout + done.stderr})
        return done


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    with enforced_aws() as made:
        yield made


@pytest.fixture(scope="module")
def checkout(aws: Aws, tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    sandbox, folder = tools.sandbox, tmp_path_factory.mktemp("checkout")
    copy_program(folder)
    for name in ("Pulumi.yaml", "Pulumi.paper.yaml", "Pulumi.live.yaml"):
        shutil.copy(ROOT / name, folder)
    # What `uv sync` makes.
    (folder / ".venv").symlink_to(sys.prefix)
    signs_in = "[{0}]\naws_access_key_id = {0}\naws_secret_access_key = any\n"
    profiles = "".join(signs_in.format(who) for who in (ADMINISTRATOR, "ibgw-paper", PLANS))
    (folder / "profiles").write_text(profiles)
    shutil.copytree(sandbox.folder / "pulumi", folder / "home", symlinks=True)
    stack = tools.project("paper-first")
    secret_id = stack.config["config"]["ibgw:gateways"]["main"]["credentials"]["secretId"]
    [credential] = [found for found in sandbox.credentials() if found.secret_id == secret_id]
    return Checkout(folder, environment(sandbox, aws, folder), credential)


def environment(sandbox: Sandbox, aws: Aws, folder: Path) -> dict[str, str]:
    own = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PULUMI_BACKEND_URL", "PULUMI_OPTION_CWD")
    kept = {name: value for name, value in sandbox.env().items() if name not in (*own, "PULUMI_OPTION_POLICY_PACK")}
    return {
        **kept,
        "HOME": str(folder / "home"),
        "AWS_ENDPOINT_URL": aws.endpoint,
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": aws.endpoint,
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "profiles"),
        "PULUMI_HOME": str(folder / "home"),
        "PULUMI_CONFIG_PASSPHRASE": "any",
        "PULUMI_SKIP_CONFIRMATIONS": "true",
        "PYTHONPATH": str(folder),
    }


def as_here(command: Command) -> str:
    text = command.text
    for word, meant in MEANT.items():
        text = text.replace(word, meant)
    return text


def given(text: str, answers: str) -> str:
    """A command with what a person types."""
    return f"{{ {text}\n}} <<<{shlex.quote(answers)}"


def edited(sandbox: Sandbox, folder: Path, pool: str) -> None:
    """What a person does in an editor where the gateways are not the real ones."""
    file = folder / "Pulumi.paper.yaml"
    written = project.read(file)
    made = project.stack(
        written,
        docker_host=sandbox.docker_host,
        prefix=f"{sandbox.prefix}-first",
        image=sandbox.gateway_image,
        base_image=sandbox.base_image,
        pool=pool,
    )
    file.write_text(yaml.safe_dump(made))


def test_the_way_to_a_first_stack(checkout: Checkout, tools: Tools, aws: Aws) -> None:
    """Deployed and verified by one role, planned by the other, with no permission too few for either."""
    sandbox, credential = tools.sandbox, checkout.credential
    before, after = blocks("README.md", REAL)
    deploying, moving = blocks("docs/account.md", ACCOUNTS)
    host = [sandbox.docker_host, REGION, credential.secret_id]
    answers = {"ibgw init": "\n".join(host), "ibgw credentials put": credential.secret()}

    def lines(commands: list[Command]) -> str:
        found = []
        for text in map(as_here, commands):
            typed = next((typed for start, typed in answers.items() if text.startswith(start)), None)
            found.append(text if typed is None else given(text, typed))
        return "\n".join(found)

    def done(script: str, **variables: str) -> Completed:
        # Pulumi takes `~` of the backend that --local means from the machine's list of users, whatever HOME says.
        ended = checkout.bash(script.replace("login --local", f"login file://{checkout.folder}/home"), **variables)
        assert ended.returncode == 0, f"{script.partition('<<<')[0]}\n{ended.stdout}\n{ended.stderr}"
        return ended

    done(f"uv() {{ :; }}\n{lines(before)}")
    edited(sandbox, checkout.folder, sandbox.pool("paper-first"))
    done(lines([*deploying, *moving]), AWS_PROFILE=ADMINISTRATOR)
    assert aws.denied == []
    try:
        script = lines(after)
        done(script)
        assert aws.denied == [], "ibgw-paper may all that its way needs"
        checked = done("ibgw credentials check paper --json", AWS_PROFILE="ibgw-paper")
        assert json.loads(checked.stdout)["exit_code"] == 0
        for command in ("plan", "drift"):
            done(f"ibgw {command} --stack paper", AWS_PROFILE=PLANS)
        # A plan asks for the value, and goes by the version when it is denied.
        assert set(aws.denied) == {(PLANS, "secretsmanager:GetSecretValue")}
        s3, bucket = aws.client("s3"), f"ibgw-state-{ACCOUNT}-{REGION}"
        kept = [found["Key"] for found in s3.list_objects_v2(Bucket=bucket)["Contents"] if "/paper" in found["Key"]]
        assert len(kept) > 3
        checkout.scanner.check({key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in kept})
        checkout.scanner.check_files(checkout.folder)
        assert checkout.bash("pulumi up --stack paper", AWS_PROFILE=PLANS).returncode != 0
        assert (PLANS, "s3:PutObject") in aws.denied
    finally:
        checkout.bash("pulumi destroy --stack paper", AWS_PROFILE="ibgw-paper")
