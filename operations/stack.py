"""A stack as the Pulumi CLI knows it: its output, its configuration, its recorded state.

Everything goes through the `pulumi` on PATH, so that the backend, the secrets provider and the project folder are the
ones the operator's own commands use. No call here ever asks for secrets in plain text: what is encrypted in the state
stays encrypted.

What takes long to load is loaded where it is used: to read what a stack is needs none of it.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from deployment.description import Deployment, Gateway, Mode
from deployment.errors import ExitCode, IbgwError, faults_in_words
from deployment.names import PROJECT
from deployment.paths import project_folder

if TYPE_CHECKING:
    from infra.settings import Settings, TradingHours

T = TypeVar("T")

OUTPUT = "contract"
"""The stack's only output."""

SECONDS = 20
"""How long whoever only asks what is deployed waits for the state's backend, its key and their retries: nobody waits
longer to stop a gateway."""

_NO_LOGIN = "PULUMI_ACCESS_TOKEN must be set"
"""The CLI's word for that no backend is logged in to, where it has no terminal to ask on."""

RELEASE = f"{PROJECT}:release"
"""The setting that names the promoted release."""


def program_folder(project: Path) -> Path:
    """Where the program of a project lies (`main` in Pulumi.yaml) and the engine has its plug-ins work."""
    import yaml

    document: dict[str, Any] = yaml.safe_load((project / "Pulumi.yaml").read_text(encoding="utf-8"))
    return (project / str(document.get("main", "."))).resolve()


@dataclass(frozen=True)
class Configured:
    """The two settings that say where a stack's objects live and how they are named."""

    docker_host: str
    name_prefix: str


class NotDeployedError(IbgwError):
    """The stack is not in this backend, or no update of it has succeeded yet."""


class StackLockedError(IbgwError):
    """Another update holds the stack's lock, or held it when it was killed."""

    exit_code = ExitCode.REFUSED


class StateUnreadableError(IbgwError):
    """The stack's state could not be read: its backend or the key of its secrets refused, or nobody answered. What the
    CLI says of the stack itself (unknown, locked) is another error."""


@dataclass(frozen=True)
class Stack:
    """One stack, addressed by name. `environment`: what the CLI and the program get beside this process's own. `file`:
    in place of Pulumi.NAME.yaml, for previews and updates."""

    name: str
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)
    file: Path | None = None

    def deployment(self, *, seconds: float | None = None) -> Deployment:
        """What the last update exported. `seconds`: how long that may take.

        Raises IbgwError if there is none yet or it cannot be read, and then StateUnreadableError.
        """
        outputs = self._outputs(seconds)
        if OUTPUT not in outputs:
            raise NotDeployedError(
                f"Stack {self.name!r} has no output {OUTPUT!r} yet: it was never deployed, or its first update failed. "
                f"Deploy it with `{self.first_deployment}`."
            )
        return parse_contract(json.dumps(outputs[OUTPUT]), f"the output of stack {self.name!r}", self.update_command)

    @property
    def _live(self) -> bool:
        """By its name, which infra.settings holds to the mode."""
        return self.name.partition("-")[0] == Mode.LIVE

    @property
    def first_deployment(self) -> str:
        """The command that deploys it where nothing is deployed yet: live runs only what was promoted."""
        return f"ibgw promote --to {self.name}" if self._live else f"pulumi up --stack {self.name}"

    @property
    def update_command(self) -> str:
        """The command that takes a change of its configuration to what is deployed."""
        return f"ibgw rollout --stack {self.name}" if self._live else f"pulumi up --stack {self.name}"

    def deployed(self) -> bool:
        """Whether an update has exported the output yet."""
        return OUTPUT in self._outputs()

    @property
    def onward(self) -> str:
        """The command that deploys it, whether or not something is deployed."""
        return self.update_command if self.deployed() else self.first_deployment

    def _outputs(self, seconds: float | None = None) -> dict[str, Any]:
        outputs: dict[str, Any] = json.loads(self._pulumi("stack", "output", "--json", seconds=seconds))
        return outputs

    def configured(self) -> Configured:
        """The Docker host and the name prefix (or its default) from the stack's configuration. Reads no secret."""
        from infra.settings import Settings

        settings: dict[str, dict[str, Any]] = json.loads(self._pulumi("config", "--json"))

        def plain(key: str, default: str | None = None) -> str:
            value = settings.get(f"{PROJECT}:{key}", {}).get("value", default)
            if not isinstance(value, str) or not value:
                usual = default or "unix:///var/run/docker.sock"
                raise IbgwError(
                    f"{PROJECT}:{key} is missing from the configuration of stack {self.name!r}: "
                    f"set it, to this or another, with "
                    f"`pulumi config set {PROJECT}:{key} {usual} --stack {self.name}`.",
                    exit_code=ExitCode.REFUSED,
                )
            return value

        prefix: str = Settings.model_fields["name_prefix"].default
        return Configured(docker_host=plain("dockerHost"), name_prefix=plain("namePrefix", prefix))

    def backend_url(self) -> str:
        """Where states and locks are kept, such as `file:///home/me` or `s3://bucket`."""
        answer: dict[str, str] = json.loads(self._pulumi("whoami", "--verbose", "--json", stack=False))
        return answer["url"]

    def configuration(self) -> dict[str, str]:
        """Full keys, those of other namespaces included, to text; without what is encrypted."""
        config: dict[str, dict[str, Any]] = json.loads(self._pulumi("config", "--json"))
        return {key: entry["value"] for key, entry in config.items() if "value" in entry}

    def settings(self) -> "Settings":
        """The validated configuration. Raises IbgwError (REFUSED) that lists every fault."""
        from infra.settings import load

        return load(self.name, self.configuration(), project_folder())

    def trading_hours(self) -> "TradingHours":
        """Those of the stack's file, for which no backend is asked. Raises IbgwError where it does not tell them."""
        from infra.settings import TradingHours

        return self._of_file("tradingHours", TradingHours.model_validate_json, "{}")

    def docker_host(self) -> str:
        """That of the stack's file, likewise."""
        return self._of_file("dockerHost", str)

    def _of_file(self, name: str, read: Callable[[str], T], default: str | None = None) -> T:
        """What `read` makes of a setting's text."""
        import yaml

        from operations import yaml_text

        file = project_folder() / f"Pulumi.{self.name}.yaml"
        key = f"{PROJECT}:{name}"
        try:
            config = yaml_text.read(file.read_text(encoding="utf-8"))["config"]
            value = config[key] if default is None else config.get(key, default)
            return read(value if isinstance(value, str) else json.dumps(value))
        except OSError as error:
            raise IbgwError(f"{file.name} cannot be read: {error.strerror}") from None
        except (yaml.YAMLError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError):
            raise IbgwError(f"{file.name} tells no {key} that can be read") from None

    def preview(self, *, release: str | None = None) -> str:
        """What an update would do, as the engine's JSON, with what stays the same; secrets are blanked.

        With `release`, as if the stack's file named that one; the file stays as it is. Raises IbgwError with what the
        program or a provider refused.
        """
        arguments = ("preview", "--json", "--show-sames")
        if release is None:
            return self._pulumi(*arguments, *self._by_file)
        with self._copied() as copied:
            self.name_release(release, file=copied.file)
            return self._pulumi(*arguments, *copied._by_file)

    @contextmanager
    def with_version(self, gateway: str, version: str) -> Iterator["Stack"]:
        """As if the stack's file named this version of the gateway's secret; the file stays as it is."""
        key = f"{PROJECT}:gateways.{gateway}.credentials.versionId"
        with self._copied() as copied:
            self._pulumi("config", "set", "--path", key, version, *copied._by_file)
            yield copied

    @contextmanager
    def _copied(self) -> Iterator["Stack"]:
        """With a copy of its file, which goes at the end."""
        with TemporaryDirectory(prefix="ibgw-") as folder:
            file = Path(folder) / f"Pulumi.{self.name}.yaml"
            file.write_bytes((project_folder() / file.name).read_bytes())
            yield replace(self, file=file)

    @property
    def _by_file(self) -> tuple[str, ...]:
        return () if self.file is None else ("--config-file", str(self.file))

    def name_release(self, release: str | None, *, file: Path | None = None) -> None:
        """Has the stack's file (or this one) name the release that live runs, or none. Its comments stay."""
        change = ("rm", RELEASE) if release is None else ("set", RELEASE, release)
        self._pulumi("config", *change, *(("--config-file", str(file)) if file is not None else ()))

    def history(self) -> list[dict[str, Any]]:
        """What was done to the stack, newest first, as the engine's JSON has it; the last thousand."""
        updates: list[dict[str, Any]] = json.loads(self._pulumi("stack", "history", "--json", "--page-size", "1000"))
        return updates

    def up(self, targets: Sequence[str] = ()) -> bool:
        """Updates; whether that succeeded. `targets`: the URNs of what alone it may touch; none for everything.

        Of several targets one that fails leaves the others to come to their end: a gateway that is being replaced would
        otherwise be left removed.
        """
        alone = [word for urn in targets for word in ("--target", urn)]
        return self._act("up", *alone, *(["--continue-on-error"] if targets else []))

    def destroy(self) -> bool:
        """Removes what the stack declares; whether that succeeded."""
        return self._act("destroy")

    def _act(self, verb: str, *options: str) -> bool:
        """Changes the stack, the engine's output on our standard error; whether that succeeded.

        A Ctrl-C goes to the engine as well, which ends in order; we wait for it and then pass it on.
        """
        acting = ["pulumi", verb, "--yes", "--skip-preview", "--suppress-outputs", "--stack", self.name]
        command = [*acting, *self._by_file, *options]
        interactive = sys.stderr.isatty()
        started = subprocess.Popen(
            [*command, *([] if interactive else ["--non-interactive", "--color", "never"])],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),
        )
        interruption: BaseException | None = None
        while True:
            try:
                succeeded = started.wait() == 0
                break
            except (KeyboardInterrupt, SystemExit) as signalled:
                interruption = signalled
                if isinstance(signalled, SystemExit):
                    started.terminate()
        if interruption is not None:
            raise interruption
        return succeeded

    def refresh_preview(self) -> str:
        """What is recorded, and what the provider reads of it now, as the engine's JSON; secrets are blanked.

        Runs no program, asks for no secret and writes nothing. Raises IbgwError with what a provider refused.
        """
        return self._pulumi("refresh", "--preview-only", "--json")

    def export_state(self) -> str:
        """The recorded state as JSON, secrets encrypted."""
        return self._pulumi("stack", "export")

    def recorded_ids(self) -> frozenset[str]:
        """Of the containers, networks and volumes that the recorded state holds. Whoever verifies does not wait longer
        than SECONDS for it."""
        from operations.repair.state import read_state

        return frozenset(
            recorded.id for recorded in read_state(self._pulumi("stack", "export", seconds=SECONDS)).objects
        )

    def clear_pending(self) -> None:
        """Drops pending operations from the state and changes nothing else.

        An export that is imported again is Pulumi's own cure for them. A refresh with `--clear-pending-creates` would
        also read every object anew, and the provider takes any error of Docker's for 'gone'.
        """
        self.import_state(self.export_state())

    def import_state(self, text: str) -> None:
        """Puts this in place of the recorded state. What is marked as a secret in it is encrypted on the way."""
        self._pulumi("stack", "import", stdin=text)

    def cancel_lock(self) -> None:
        """Removes every lock of the stack, whoever holds it."""
        self._pulumi("cancel", "--yes")

    def refresh(self, urns: Sequence[str]) -> None:
        """Lets Pulumi read these objects anew, and nothing else; those that are gone it forgets.

        The caller has seen that Docker answers, and which of them it has.
        """
        targets = [word for urn in urns for word in ("--target", urn)]
        self._pulumi("refresh", "--yes", "--skip-preview", "--suppress-outputs", *targets)

    def _pulumi(
        self, *arguments: str, stdin: str | None = None, stack: bool = True, seconds: float | None = None
    ) -> str:
        """Runs the CLI, for so many seconds at most, and returns what it printed. Raises IbgwError, named for what the
        operator can do about it."""
        command = ["pulumi", *arguments, *(["--stack", self.name] if stack else []), "--non-interactive"]
        try:
            # A value for stdin is always given: the CLI must never wait for a terminal.
            done = subprocess.run(
                [*command, "--color", "never"],
                # Where an operator has confirmations skipped, it refuses previews; what acts here says so itself.
                env={**os.environ, **self.environment, "PULUMI_SKIP_CONFIRMATIONS": "false"},
                input=stdin or "",
                capture_output=True,
                text=True,
                check=False,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            raise StateUnreadableError(
                f"`{' '.join(command[:3])}` gave no answer within {seconds:g} s for stack {self.name!r}."
            ) from None
        except FileNotFoundError:
            raise IbgwError(
                "There is no `pulumi` on PATH in this shell. Install it (https://www.pulumi.com/docs/install/), or set "
                "PATH to where it is."
            ) from None
        if done.returncode != 0:
            raise self._failure(" ".join(command[:3]), done)
        return done.stdout

    def _failure(self, command: str, done: "subprocess.CompletedProcess[str]") -> IbgwError:
        """What the operator can do about a command that failed.

        The CLI 3.256 has one exit code for most failures. What its words for a missing and for a locked stack are, over
        its versions and backends, Pulumi's automation API knows; what else is told apart is looked at and not read.
        """
        # Here, since it takes 0.3 s to load.
        from pulumi.automation import CommandResult, ConcurrentUpdateError, StackNotFoundError
        from pulumi.automation.errors import create_command_error

        project_folder()
        match create_command_error(CommandResult(done.stdout, done.stderr, done.returncode)):
            case StackNotFoundError() if "--stack" in done.args:
                return self._missing()
            case ConcurrentUpdateError():
                return StackLockedError(
                    f"Stack {self.name!r} is locked: an update of it runs, or was killed. Wait for its end, or, if "
                    f"nobody is updating it, run `ibgw repair --stack {self.name}`."
                )
        if done.stdout.startswith("{"):
            return self._preview_failure(json.loads(done.stdout).get("diagnostics") or [])
        if (fault := self._file_fault()) is not None:
            return StateUnreadableError(fault)
        # For people: a provider's failure is a list below "error: 1 error occurred:".
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines()]
        said = " ".join(line for line in lines if line.startswith(("error:", "* ")))
        if _NO_LOGIN in said:
            return StateUnreadableError(
                "Nobody is logged in to a Pulumi backend here, which keeps what is known of a stack. Log in where that "
                "is (`pulumi login s3://BUCKET`; `pulumi login --local` is this machine), or set PULUMI_BACKEND_URL."
            )
        return StateUnreadableError(f"`{command}` failed for stack {self.name!r}. It said: {said or 'nothing'}")

    def _file_fault(self) -> str | None:
        """What keeps the stack's file from being read, which the engine tells without the file's name."""
        import yaml

        from operations import yaml_text

        file = project_folder() / f"Pulumi.{self.name}.yaml"
        try:
            yaml_text.read(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except OSError as error:
            return f"{file} cannot be read: {error.strerror}."
        except UnicodeDecodeError:
            return f"{file} is not UTF-8."
        except yaml.YAMLError as error:
            return f"{file} is not YAML: {yaml_text.what_is_wrong(error)}."
        return None

    def _missing(self) -> IbgwError:
        """That there is no such stack: one of a similar name, or how one that is configured comes to be."""
        configured = {file.name[len("Pulumi.") : -len(".yaml")] for file in project_folder().glob("Pulumi.*.yaml")}
        made = self._names()
        others = (made | configured) - {self.name}
        if meant := nearest(self.name, others):
            todo = f"Did you mean {meant!r}? Then say --stack {meant}."
        elif self.name in configured:
            todo = f"`pulumi stack init {self.name}` makes it, then `{self.first_deployment}` deploys it."
        else:
            todo = f"There are: {', '.join(sorted(made)) or 'none yet'}; Pulumi.{self.name}.yaml is not there either."
        return NotDeployedError(f"There is no stack {self.name!r} in this backend. {todo}")

    def _names(self) -> set[str]:
        """The project's stacks, without what a backend may put before them; none where they cannot be listed."""
        try:
            listed: list[dict[str, Any]] = json.loads(self._pulumi("stack", "ls", "--json", stack=False))
        except (IbgwError, ValueError):
            return set()
        return {str(entry["name"]).rpartition("/")[2] for entry in listed}

    def _preview_failure(self, diagnostics: Sequence[Mapping[str, str]]) -> IbgwError:
        if shutil.which("uv") is None:
            return IbgwError(
                "There is no `uv` on PATH in this shell, and Pulumi's Python language host needs it (toolchain: uv in "
                "Pulumi.yaml). Install it (https://docs.astral.sh/uv/), or set PATH to where it is."
            )
        # What the program itself logs as an error comes as info on standard error.
        severities = ("error", "info#err")
        errors = "".join(entry["message"] for entry in diagnostics if entry["severity"] in severities).strip()
        return IbgwError(
            f"The preview of stack {self.name!r} failed, and nothing was changed. It said: {errors or 'nothing'}\n"
            f"`pulumi preview --stack {self.name}` shows all of it, with the rules that a policy found broken."
        )


def read_contract(file: Path) -> Deployment:
    """The contract from a file; `-` is standard input. Raises IbgwError."""
    piped = str(file) == "-"
    try:
        text = sys.stdin.read() if piped else file.read_text(encoding="utf-8")
    except OSError as error:
        raise IbgwError(f"--contract {file}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise IbgwError(f"--contract {file}: cannot be read (it is no text in UTF-8).") from None
    return parse_contract(text, "the contract on standard input" if piped else f"the contract in {file}")


def parse_contract(text: str, where: str, update: str = "pulumi up") -> Deployment:
    """Validates a contract. Raises IbgwError that names each wrong key, never its value. `update`: the command that has
    this version export it."""
    try:
        return Deployment.model_validate_json(text)
    except ValidationError as error:
        wrong = faults_in_words(error.errors(include_url=False, include_input=False))
        raise IbgwError(
            f"Cannot use {where}: {wrong}. Expected the value of the stack's output {OUTPUT!r}, schema 1, as this "
            f"version of ibgw exports it: deploy again with `{update}`, or use the matching version of ibgw."
        ) from None


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The one of these that was meant, perhaps; None where none is near."""
    by_letters = {stack.lower(): stack for stack in sorted(known)}
    near = get_close_matches(name.lower(), by_letters, n=1)
    return by_letters[near[0]] if near else None


def choose_gateways(deployment: Deployment, patterns: Sequence[str]) -> tuple[Gateway, ...]:
    """The gateways whose names match, in the order given, or all. Raises IbgwError (bad usage) for a pattern that no
    gateway of the stack matches."""
    names = matching(patterns, deployment.gateways, f"stack {deployment.stack!r} has no such gateway")
    return tuple(deployment.gateways[name] for name in names)


SHOWN_GATEWAYS = 20


def matching(patterns: Sequence[str], names: Iterable[str], none: str) -> list[str]:
    """The names that match one of these patterns (as fnmatch has it), each once; all of them where there is no pattern.

    Raises IbgwError (bad usage) for one without a match, with `none` and what may have been meant.
    """
    known = sorted(names)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in known):
            more = f" and {len(known) - SHOWN_GATEWAYS} more" if len(known) > SHOWN_GATEWAYS else ""
            meant = nearest(pattern, known)
            raise IbgwError(
                f"--gateway {pattern}: {none}, only {', '.join(known[:SHOWN_GATEWAYS])}{more}."
                f"{f' Did you mean {meant!r}?' if meant else ''}",
                exit_code=ExitCode.BAD_USAGE,
            )
    chosen = (name for pattern in patterns or ["*"] for name in known if fnmatchcase(name, pattern))
    return list(dict.fromkeys(chosen))


def choose_gateway(deployment: Deployment, name: str | None) -> Gateway:
    """The named gateway, or the only one. Raises IbgwError (bad usage) where the choice is open."""
    chosen = choose_gateways(deployment, [name] if name else [])
    if len(chosen) > 1:
        raise IbgwError(
            f"Stack {deployment.stack!r} has several gateways: choose one with --gateway "
            f"({', '.join(gateway.name for gateway in chosen)}).",
            exit_code=ExitCode.BAD_USAGE,
        )
    return chosen[0]
