"""What the account's program is told: its own few keys, and the secrets that the stack files name."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from deployment.description import Mode
from deployment.errors import ExitCode, IbgwError
from infra import settings
from infra.settings_errors import explain

PROJECT = "ibgw-account"
REGION = "aws:region"

_PERSON = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:(user|role)/[\w+=,.@/-]+", re.ASCII)
_REPOSITORY = re.compile(r"[A-Za-z0-9-]+/[\w.-]+", re.ASCII)


def _person(value: str) -> str:
    if not _PERSON.fullmatch(value):
        raise ValueError(f"found {value!r}; expected one user or role of IAM, as arn:aws:iam::111122223333:user/NAME")
    return value


def _repository(value: str) -> str:
    if not _REPOSITORY.fullmatch(value):
        raise ValueError(f"found {value!r}; expected one repository of GitHub, as OWNER/NAME")
    return value


_People = Annotated[tuple[Annotated[str, AfterValidator(_person)], ...], Field(min_length=1)]


class AccountSettings(BaseModel):
    """`paper` and `live`: who takes the roles on that deploy these. `repository`: GitHub's OWNER/NAME whose jobs take
    the roles of CI on; without one there are none."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, alias_generator=to_camel)

    paper: _People
    live: _People
    repository: Annotated[str, AfterValidator(_repository)] | None = None

    def people(self, mode: Mode) -> tuple[str, ...]:
        return self.paper if mode is Mode.PAPER else self.live


def load(config: Mapping[str, str]) -> AccountSettings:
    """From the engine's configuration, full keys to text. Raises IbgwError (REFUSED) that lists every fault."""
    own = {key.partition(":")[2]: text for key, text in config.items() if key.startswith(f"{PROJECT}:")}
    try:
        return AccountSettings.model_validate_json(json.dumps({key: _decoded(text) for key, text in own.items()}))
    except ValidationError as error:
        faults = [explain(fault, AccountSettings, PROJECT) for fault in error.errors(include_url=False)]
    listed = "".join(f"\n  - {fault}" for fault in faults)
    raise IbgwError(f"the configuration of the account was refused:{listed}", exit_code=ExitCode.REFUSED)


def _decoded(text: str) -> Any:
    """Lists arrive as JSON text, plain strings as they are."""
    try:
        return json.loads(text) if text.startswith("[") else text
    except ValueError:
        return text


def secrets_of(folder: Path, region: str) -> dict[Mode, list[str]]:
    """The names of the secrets that the stack files in `folder` name, by their stack's mode.

    Raises IbgwError (REFUSED) for a file that the gateways' program would refuse, for a secret that is not in `region`,
    and for one that is named by its ARN.
    """
    found: dict[Mode, set[str]] = {mode: set() for mode in Mode}
    for file in sorted(folder.glob("Pulumi.*.yaml")):
        config = _config(file)
        loaded = settings.load(file.name.removeprefix("Pulumi.").removesuffix(".yaml"), config, folder)
        if config.get(REGION, region) != region:
            raise _refused(
                file,
                f"{REGION} is {config[REGION]!r}, and that of the account {region!r}; both must be one, since a role "
                f"has one name in an account. Set it to {region}, and put the credentials there; a stack that has to "
                "stay in another region needs an AWS account of its own",
            )
        named = {
            one.credentials.secret_id: f"gateways.{name}.credentials.secretId" for name, one in loaded.gateways.items()
        }
        for secret, key in (dict.fromkeys(loaded.monitoring.channels, "monitoring") | named).items():
            if secret.startswith("arn:"):
                raise _refused(file, _by_arn(key, secret))
            found[loaded.mode].add(secret)
    return {mode: sorted(names) for mode, names in found.items()}


def _by_arn(key: str, arn: str) -> str:
    # What follows the name in an ARN is Secrets Manager's own: a hyphen and six characters.
    name = arn.partition(":secret:")[2][:-7]
    return (
        f"ibgw:{key} is an ARN, and an account makes its secrets by their names, "
        f"with its keys and for its roles. Write {name}, and take the secret over before the first update: `pulumi "
        f"import aws:secretsmanager/secret:Secret {name} {arn} --generate-code=false`. One of another account or "
        "region cannot be taken over: put the credentials into one here with `ibgw credentials put`"
    )


def _config(file: Path) -> dict[str, str]:
    """As the engine hands it over."""
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
        config = document["config"].items()
    except OSError as error:
        raise _refused(file, f"cannot be read: {error.strerror}") from None
    # ValueError: a date that is not in the calendar.
    except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _refused(file, "no stack's file: it holds no readable `config`") from None
    return {key: value if isinstance(value, str) else json.dumps(value, default=str) for key, value in config}


def _refused(file: Path, why: str) -> IbgwError:
    return IbgwError(f"{file.name}: {why}", exit_code=ExitCode.REFUSED)
