"""The sandbox as a whole: everything that a stack needs, on this machine, brought up, described and removed again.

A sandbox is a folder (its state), a name prefix (on all that it makes in Docker) and an index (its addresses), so that
several never meet: `make sandbox` has one, each test run has its own.
"""

import fcntl
import os
import secrets
import shlex
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import IO, Any

import docker

from deployment.errors import ExitCode, IbgwError
from sandbox import (
    base_image,
    docker_engine,
    internet,
    packages,
    project,
    registry,
    secrets_manager,
    toolchain,
    windows,
)
from sandbox.broker.control import BrokerControl
from sandbox.internet import Internet
from sandbox.locks import locked
from sandbox.processes import Processes, alive, run, this_process
from sandbox.record import Record, RecordFile
from sandbox.secrets_manager import Content, Credential, Vault, write_private
from sandbox.steps import Say, Steps

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".sandbox"
POLICY_PACK = ROOT / "infra" / "policy"
PREFIX = "ibgw-sandbox"
DEFAULT_STACK = "paper"
OWN = "the Docker host, the names' prefix and the images, which are the sandbox's"

PULUMI = """\
#!/bin/sh
# The engine on the sandbox. What was edited in the checkout since the last command is taken over first.
for file in {root}/Pulumi.yaml {root}/Pulumi.*.yaml; do
    if ! cmp -s "$file" {taken}/"$(basename "$file")"; then
        {variable}={folder} {python} -m sandbox.cli up >&2 || exit
        break
    fi
done
exec {engine} "$@"
"""

POOL_PREFIX = 20
"""The size of a stack's subnet pool, as in the tracked stack files."""


def addresses(index: int) -> IPv4Network:
    """What one sandbox's subnet pools come out of; the default sandbox's own stacks have the tracked files' instead."""
    return IPv4Network(f"10.{64 + 2 * index}.0.0/15")


def default_cache() -> Path:
    """What outlives a sandbox: the toolchain and the base image's root file system."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ibgw"


@dataclass(frozen=True)
class Stack:
    """A stack that was added to a sandbox, with the project folder that its configuration lives in."""

    name: str
    folder: Path
    env: Mapping[str, str]
    config: project.Document


class Sandbox:
    """`up`, `down` and `env` of one sandbox. All of them raise IbgwError, whose message says what to do."""

    def __init__(
        self,
        folder: Path = FOLDER,
        prefix: str = PREFIX,
        index: int = 0,
        *,
        say: Say,
        cache: Path | None = None,
        also: Mapping[str, str] = {},
    ) -> None:
        """`also`: further commands to install with the sandbox's own, each with its Debian package."""
        self.folder = folder
        self.prefix = prefix
        self.index = index
        self.internet = Internet(prefix, index)
        self.docker_host = docker_engine.host()
        self.project_folder = folder / "project"
        self._say = say
        self._cache = cache or default_cache()
        self._also = also
        self._record = RecordFile(folder / "record.json", prefix=prefix, index=index)
        self._processes = Processes(self._record, folder / "logs")
        self._vault = Vault(folder)

    # Bringing it up

    def up(self) -> None:
        """Starts what does not run and makes what is not there. Quick where everything is up."""
        if sys.platform != "linux":
            raise IbgwError("the sandbox needs Linux: Docker networks, network namespaces and /proc")
        with self.alone():
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o700)
            self._record.update(_own)
            names = (project.PROJECT_FILE, *map(project.stack_file, project.stacks(ROOT)))
            edited = {name: (ROOT / name).read_bytes() for name in names}
            new = self._add_logins()
            with Steps(self._say) as steps:
                tools = steps.start("toolchain", self._toolchain)
                vault = steps.start("secrets", lambda say: self._secrets_manager(new, say))
                installed = steps.start("packages", self._packages)
                engine = steps.start("docker", self._docker, after=[installed])
                steps.start("internet", self._internet, after=[engine])
                store = steps.start("registry", self._registry, after=[installed])
                base = steps.start("base image", self._base_image, after=[engine, store])
                image = steps.start("gateway image", self._gateway_image, after=[base])
                steps.start("project", lambda say: self._project(edited, say), after=[tools, vault, image])

    # What a machine has once: of several sandboxes that come up at the same time one makes it, and the others wait.

    def _packages(self, say: Say) -> None:
        commands = {**packages.COMMANDS, **self._also}
        if base_image.archive(self._cache).exists():
            del commands["debootstrap"]
        if not docker_engine.running(self.docker_host):
            commands |= packages.DOCKER
        packages.provide(commands, self._cache, say)

    def _toolchain(self, say: Say) -> None:
        found = toolchain.ensure(self._cache / "toolchain", say)
        folders = tuple(str(folder) for folder in found.path)
        environment = toolchain.enter_plugins(found, self.folder / "pulumi")

        def keep(record: Record) -> None:
            record.tool_folders, record.tool_environment = folders, environment

        self._record.update(keep)

    def _docker(self, say: Say) -> None:
        with locked(self._cache / "docker.lock"):
            if not docker_engine.running(self.docker_host):
                docker_engine.start(self.docker_host, self._processes, self.folder, say)

    def _registry(self, say: Say) -> None:
        registry.ensure(self._processes, port=self._port(registry.PROCESS), state=self.folder / "registry", say=say)

    def _secrets_manager(self, new: Sequence[Credential], say: Say) -> None:
        """Starts it with all secrets, or puts the `new` ones into the one that runs."""
        port = self._port(secrets_manager.PROCESS)
        if not secrets_manager.ensure(self._processes, self._vault, port=port, say=say):
            secrets_manager.fill(new, port=port)

    def _internet(self, say: Say) -> None:
        internet.ensure(self.internet, self._processes, users=self._vault.users, root=ROOT, say=say)

    def _base_image(self, say: Say) -> None:
        upstream = project.base_image(self._tracked(DEFAULT_STACK))
        made = base_image.ensure(self.docker_host, upstream=upstream, prefix=self.prefix, cache=self._cache, say=say)
        with closing(docker_engine.connect(self.docker_host)) as client:
            name = registry.base_image(client, port=self._port(registry.PROCESS), reference=made, say=say)
        self._record.update(lambda record: setattr(record, "base_image", name))

    def _gateway_image(self, say: Say) -> None:
        with closing(docker_engine.connect(self.docker_host)) as client:
            name = registry.gateway_image(
                client,
                port=self._port(registry.PROCESS),
                prefix=self.prefix,
                source=ROOT / "sandbox" / "gateway",
                base_image=self.base_image,
                broker=(self.internet.broker, internet.GATEWAY_PORT),
                say=say,
            )
        self._record.update(lambda record: setattr(record, "gateway_image", name))

    def _project(self, edited: Mapping[str, bytes], say: Say) -> None:
        """The generated project folder, and the stacks in the sandbox's own backend. `edited`: what it is made from."""
        stacks = project.stacks(ROOT)
        self._write_project(
            self.project_folder, {stack: self._with_accounts(self._document(stack)) for stack in stacks}, say
        )
        self._write_engine(edited)
        passphrase = self.folder / "passphrase"
        if not passphrase.exists():
            write_private(passphrase, secrets.token_urlsafe(24))
        (self.folder / "state").mkdir(exist_ok=True)
        for stack in stacks:
            self._init_stack(stack, self.env(), say, select=stack == DEFAULT_STACK)

    def _write_engine(self, edited: Mapping[str, bytes]) -> None:
        """The command `pulumi` of the sandbox's environment, and what it compares the checkout's files with."""
        taken = self.folder / "taken"
        taken.mkdir(exist_ok=True)
        for name, content in edited.items():
            (taken / name).write_bytes(content)
        engine = self.folder / "bin" / "pulumi"
        engine.parent.mkdir(exist_ok=True)
        draft = engine.with_suffix(".new")
        draft.write_text(
            PULUMI.format(
                root=shlex.quote(str(ROOT)),
                taken=shlex.quote(str(taken)),
                folder=shlex.quote(str(self.folder)),
                variable=toolchain.VARIABLE,
                python=shlex.quote(sys.executable),
                engine=shlex.quote(self._engine()),
            )
        )
        draft.chmod(0o755)
        os.replace(draft, engine)

    def _engine(self) -> str:
        """The engine itself, without what the command of this name in front of it does."""
        path = os.pathsep.join((*self._record.current.tool_folders, *toolchain.search_path()))
        found = shutil.which("pulumi", path=path)
        if found is None:
            raise IbgwError(f"the command pulumi is gone from {path}; run: make sandbox")
        return found

    def _init_stack(self, stack: str, env: Mapping[str, str], say: Say, *, select: bool) -> None:
        if (self.folder / "state" / ".pulumi" / "stacks" / self._project_name() / f"{stack}.json").exists():
            return
        say(f"creating the stack {stack} (a second or two)")
        command = [self._engine(), "stack", "init", stack, "--non-interactive", *([] if select else ["--no-select"])]
        run(command, doing=f"creating the stack {stack}", env={**os.environ, **env})

    # What it is

    def env(self) -> dict[str, str]:
        """The environment in which the plain commands work on this sandbox. Raises IbgwError when it was never up."""
        record = self._record.current
        if not (self.project_folder / project.PROJECT_FILE).exists():
            raise IbgwError("the sandbox is not up; run: make sandbox", exit_code=ExitCode.REFUSED)
        ours = [str(self.folder / "bin"), *record.tool_folders, str(Path(sys.executable).parent)]
        path = [*ours, *(entry for entry in os.environ.get("PATH", os.defpath).split(":") if entry not in ours)]
        endpoint = secrets_manager.endpoint(record.ports[secrets_manager.PROCESS])
        return {
            toolchain.VARIABLE: str(self.folder),
            "PATH": ":".join(path),
            "PULUMI_HOME": str(self.folder / "pulumi"),
            "PULUMI_BACKEND_URL": (self.folder / "state").as_uri(),
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(self.folder / "passphrase"),
            "PULUMI_OPTION_CWD": str(self.project_folder),
            "PULUMI_OPTION_POLICY_PACK": str(POLICY_PACK),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            **record.tool_environment,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": endpoint,
            "AWS_ACCESS_KEY_ID": secrets_manager.ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": secrets_manager.ACCESS_KEY,
            "AWS_SESSION_TOKEN": secrets_manager.ACCESS_KEY,
            "AWS_REGION": project.region(self._tracked(DEFAULT_STACK)),
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def base_image(self) -> str:
        return self._known(self._record.current.base_image)

    @property
    def gateway_image(self) -> str:
        return self._known(self._record.current.gateway_image)

    def windows_image(self) -> str:
        """The gateway's image with a Java that shows its windows on a real X server; made when first asked for."""
        with closing(docker_engine.connect(self.docker_host)) as client:
            return registry.windows_image(
                client,
                port=self._port(registry.PROCESS),
                prefix=self.prefix,
                gateway=self.gateway_image,
                context=windows.context(self._cache, self._say),
                say=self._say,
            )

    def status(self) -> dict[str, bool]:
        """Whether each part runs."""
        return {
            "docker": docker_engine.running(self.docker_host),
            "internet": self.internet.exists(),
            **{
                name: self._processes.running(name)
                for name in (internet.PROCESS, registry.PROCESS, secrets_manager.PROCESS)
            },
        }

    @property
    def started_docker(self) -> bool:
        return docker_engine.PROCESS in self._record.current.processes

    def client(self) -> docker.DockerClient:
        return docker_engine.connect(self.docker_host)

    def broker(self) -> BrokerControl:
        return BrokerControl(self.internet.broker, internet.CONTROL_PORT)

    def user_of(self, stack: str, gateway: str) -> str:
        """The user id that a gateway logs in with."""
        return self._credential_of(stack, gateway).user_id

    def _credential_of(self, stack: str, gateway: str) -> Credential:
        name = project.stack_file(stack)
        files = (self.project_folder / name, *(self.folder / "stacks").glob(f"*/{name}"))
        found = next((path for path in files if path.exists()), None)
        if found is None:
            raise IbgwError(f"the sandbox has no stack {stack}", exit_code=ExitCode.BAD_USAGE)
        gateways = project.gateways(project.in_one(project.read(found), found.parent))
        if gateway not in gateways:
            known = ", ".join(gateways)
            raise IbgwError(f"the stack {stack} has no gateway {gateway}, only {known}", exit_code=ExitCode.BAD_USAGE)
        secret_id = gateways[gateway]["credentials"]["secretId"]
        return next(credential for credential in self.credentials() if credential.secret_id == secret_id)

    def put_secret(self, stack: str, gateway: str, content: Content) -> Credential:
        """Puts a new version of a gateway's secret into Secrets Manager. A new password is the broker's too, and the
        user's scenario is over."""
        with self.alone():
            changed = self._vault.put(self._credential_of(stack, gateway), content)
            secrets_manager.fill([changed], port=self._port(secrets_manager.PROCESS))
            if content is Content.NEW_PASSWORD:
                self.broker().reload_users()
                self.broker().clear(changed.user_id)
        return changed

    def credentials(self) -> list[Credential]:
        return self._vault.credentials()

    # Further stacks

    def add_stack(self, name: str, *, beside: str | None = None, **changes: Any) -> Stack:
        """A further stack on this sandbox, from the tracked file of its mode with `changes` to its `ibgw` keys (see
        `project.override`): a subnet pool, secrets and users of its own, and its own project folder or the one of the
        stack `beside`."""
        pool = self.pool(name)
        document = project.override(self._document(name.split("-", 1)[0]), {"network": {"subnetPool": pool}})
        given = changes.get("gateways", {})
        own_secrets = {
            gateway: {"credentials": {"secretId": f"{self.prefix}/{name.replace('-', '/', 1)}/{gateway}"}}
            for gateway in {**document["config"]["ibgw:gateways"], **given}
            if given.get(gateway, {}) is not None
        }
        document = project.override(project.override(document, {"gateways": own_secrets}), changes)
        folder = self.folder / "stacks" / (beside or name)
        with self.alone():
            new = self._vault.add(project.logins(document))
            document = self._with_accounts(document)
            self._write_project(folder, {name: document}, lambda text: None)
            secrets_manager.fill(new, port=self._port(secrets_manager.PROCESS))
            self._internet(self._say)
            env = {**self.env(), "PULUMI_OPTION_CWD": str(folder)}
            self._init_stack(name, env, self._say, select=True)
        return Stack(name=name, folder=folder, env=env, config=document)

    def pool(self, name: str) -> str:
        """A subnet pool for one purpose, a stack or a test's own networks; the same one for the same name."""

        def reserve(pools: dict[str, str]) -> None:
            if name in pools:
                return
            every = addresses(self.index).subnets(new_prefix=POOL_PREFIX)
            free = next((str(pool) for pool in every if str(pool) not in pools.values()), None)
            if free is None:
                raise IbgwError(f"no subnet pool is left for {name}; this sandbox has {len(pools)} already")
            pools[name] = free

        self._record.update(lambda record: reserve(record.pools))
        return self._record.current.pools[name]

    # Taking it down

    def down(self) -> None:
        """Removes all that the sandbox made and ends all that it started, and nothing else. The cache stays."""
        with self.alone():
            if docker_engine.running(self.docker_host):
                with closing(docker_engine.connect(self.docker_host)) as client:
                    docker_engine.clear(client, self.prefix, self._say)
            for name in (internet.PROCESS, secrets_manager.PROCESS, registry.PROCESS):
                if self._processes.stop(name, grace=10):
                    self._say(f"stopped {name}")
            if self.internet.remove():
                self._say(f"removed the network namespace {self.internet.namespace}")
            daemon = self._record.current.processes.get(docker_engine.PROCESS)
            docker_engine.stop(self.docker_host, daemon, self._processes, self._say)
            if self.folder.exists():
                shutil.rmtree(self.folder)

    # Inside

    def _tracked(self, stack: str) -> project.Document:
        return project.in_one(project.read(ROOT / project.stack_file(stack)), ROOT)

    def _project_name(self) -> str:
        return str(project.read(ROOT / project.PROJECT_FILE)["name"])

    def _with_own_secrets(self, tracked: project.Document) -> project.Document:
        """Where several sandboxes share a Docker host, each has secrets of its own: the program refuses a second
        gateway with the same secret."""
        if self.index == 0:
            return tracked
        own = {
            name: {"credentials": {"secretId": f"{self.prefix}/{gateway['credentials']['secretId']}"}}
            for name, gateway in project.gateways(tracked).items()
        }
        return project.override(tracked, {"gateways": own} if own else {})

    def _with_accounts(self, document: project.Document) -> project.Document:
        """The generated accounts in the place of the tracked files' PLACEHOLDER."""
        accounts = {credential.secret_id: credential.account for credential in self.credentials()}
        own = {
            name: {"account": {"expected": [accounts[gateway["credentials"]["secretId"]]]}}
            for name, gateway in project.gateways(document).items()
            if project.has_placeholder(gateway)
        }
        return project.override(document, {"gateways": own} if own else {})

    def _document(self, stack: str) -> project.Document:
        return project.stack(
            self._with_own_secrets(self._tracked(stack)),
            docker_host=self.docker_host,
            prefix=self.prefix,
            image=self.gateway_image,
            base_image=self.base_image,
            pool=None if self.index == 0 else self.pool(stack),
        )

    def _add_logins(self) -> list[Credential]:
        documents = [self._with_own_secrets(self._tracked(stack)) for stack in project.stacks(ROOT)]
        return self._vault.add(login for document in documents for login in project.logins(document))

    def _write_project(self, folder: Path, stacks: Mapping[str, project.Document], say: Say) -> None:
        """Says which files have changed; at first nothing, since all are new."""
        tracked = project.project(project.read(ROOT / project.PROJECT_FILE), root=ROOT, folder=folder)
        documents = {project.PROJECT_FILE: tracked, **{project.stack_file(name): stacks[name] for name in stacks}}
        first = not (folder / project.PROJECT_FILE).exists()
        for name, document in documents.items():
            in_place = project.edited_in_place(folder / name)
            if project.write(folder / name, document, source=name) and not first:
                say(f"{name} of the checkout is what is used now, but for {OWN}")
                if in_place:
                    say(f"what was changed in {folder / name} itself is gone: change {ROOT / name}")

    def _port(self, name: str) -> int:
        """The port of a service, kept so that what refers to it stays valid over a restart; another one only if
        somebody else has taken it meanwhile."""

        def choose(ports: dict[str, int]) -> None:
            if not self._processes.running(name) and not _bindable(ports.get(name, 0)):
                ports.pop(name, None)
            if name not in ports:
                with socket.socket() as chosen:
                    chosen.bind(("127.0.0.1", 0))
                    ports[name] = chosen.getsockname()[1]

        self._record.update(lambda record: choose(record.ports))
        return self._record.current.ports[name]

    def _known(self, value: str | None) -> str:
        if value is None:
            raise IbgwError("the sandbox is not up; run: make sandbox", exit_code=ExitCode.REFUSED)
        return value

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One command at a time on a sandbox of this name. The lock lies in the cache: `down` removes the folder."""
        self._cache.mkdir(parents=True, exist_ok=True)
        path = self._cache / f"{self.prefix}.lock"
        while True:
            with path.open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not path.exists() or not os.path.samestat(path.stat(), os.fstat(lock.fileno())):
                    continue  # whoever held it has removed the file that we waited for
                try:
                    yield
                finally:
                    path.unlink()
                return


def _own(record: Record) -> None:
    """Whoever brings up a sandbox owns it until that process ends, also where others bring up what is missing."""
    if record.owner is None or not alive(record.owner):
        record.owner = this_process()


def sweep(folder: Path, say: Say) -> None:
    """Takes down the sandboxes in `folder` whose owner, the process that brought them up, is gone without doing so."""
    for path in sorted(folder.glob("*/record.json")):
        record = Record.model_validate_json(path.read_text())
        if record.owner is None or not alive(record.owner):
            say(f"removing {record.prefix}, left by a run that was killed")
            Sandbox(path.parent, record.prefix, record.index, say=say).down()


def free_index(taken: Callable[[int], bool] | None = None, *, locks: Path | None = None) -> int:
    """An index from 1 whose interface does not exist and whose addresses no route of this machine overlaps. It is this
    process's until it ends: another one that starts at the same instant gets another."""
    busy = taken or _taken
    for index in range(1, internet.COUNT):
        reserved = _reserve((locks or default_cache() / "indices") / str(index))
        if reserved is None:
            continue
        if not busy(index):
            _reserved.append(reserved)
            return index
        reserved.close()
    raise IbgwError(f"all {internet.COUNT} sandboxes that fit on one machine are in use")


_reserved: list[IO[str]] = []
"""Open, and with that locked, until the process ends."""


def _reserve(path: Path) -> IO[str] | None:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _taken(index: int) -> bool:
    pool = addresses(index)
    routes = run([packages.find("ip") or "ip", "-4", "route", "list", "table", "all"], doing="reading the routes")
    destinations = (line.split()[0] for line in routes.splitlines() if line)
    networks = [IPv4Network(word, strict=False) for word in destinations if word[0].isdigit()]
    return Internet("", index).link_exists() or any(network.overlaps(pool) for network in networks if network.prefixlen)


def _bindable(port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
