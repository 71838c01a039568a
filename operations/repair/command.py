"""`ibgw repair`: reads, shows, asks, acts, and looks again."""

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from deployment.errors import ExitCode, IbgwError
from deployment.names import PROJECT
from deployment.paths import project_folder
from healthcheck.docker_host import DockerHost, docker_errors
from healthcheck.report import Model
from operations.answers import Answer
from operations.repair import adoption, lock, processes
from operations.repair.adoption import Candidates
from operations.repair.execute import execute
from operations.repair.inventory import Scope, take_inventory
from operations.repair.lock import Holder, Lock
from operations.repair.plan import Action, Plan, Verb, make_plan
from operations.repair.state import State, read_state
from operations.stack import Configured, Stack, StackLockedError, program_folder

ROUNDS = 3
"""How often a plan is made and carried out. One round is enough, unless something went on changing things meanwhile."""

Say = Callable[[str], None]
Ask = Callable[[str], None]
"""Asks a yes-or-no question and raises IbgwError (declined) unless the answer is yes."""

Ends = Callable[[Sequence[str]], None]
"""Asks whether running containers of these names may go. Raises IbgwError if not."""


@dataclass(frozen=True)
class Outcome:
    """What was done, and what the operator should know."""

    stack: str
    done: tuple[Action, ...]
    notes: tuple[str, ...]

    @property
    def answer(self) -> "RepairAnswer":
        done = tuple(Done(action=action.verb, name=action.name, id=action.id, text=action.text) for action in self.done)
        return RepairAnswer(stack=self.stack, done=done, notes=self.notes)


class Done(Model):
    action: Verb
    name: str
    id: str
    text: str


class RepairAnswer(Answer):
    """`notes`: what the operator should know or do."""

    stack: str
    done: tuple[Done, ...]
    notes: tuple[str, ...]


def repair(stack: Stack, *, yes: bool, say: Say, ask: Ask, ends: Ends | None = None) -> Outcome:
    """Puts the stack right. `yes` agrees to every plan, but never to removing a lock whose holder cannot be judged,
    nor to removing what runs where the state itself is lost: that is taken in, if it is as the program declares it.
    `ends` is asked besides, before a running container is removed.

    Raises IbgwError: could not run, refused (an update is running), declined, failed (something is left over).
    """
    configured = stack.configured()
    with (
        DockerHost(configured.docker_host) as docker,
        docker_errors(
            f"Docker host {configured.docker_host}",
            f"nothing else was tried; run `ibgw repair --stack {stack.name}` again once that is resolved",
        ),
    ):
        return _repair(stack, configured, docker, yes=yes, say=say, ask=ask, ends=ends)


def _repair(
    stack: Stack, configured: Configured, docker: DockerHost, *, yes: bool, say: Say, ask: Ask, ends: Ends | None
) -> Outcome:
    done: list[Action] = []
    backend = stack.backend_url()
    refused: Mapping[str, str] | None = None
    for _ in range(ROUNDS):
        plan = _plan(stack, backend, configured, docker, yes=yes, ask=ask)
        if plan.lost and refused is None:
            adopted, refused = _adopt(stack, docker, plan, yes=yes, say=say, ask=ask)
            if adopted:
                done += adopted
                continue
        if not plan.actions:
            return Outcome(stack.name, tuple(done), plan.notes)
        say(f"To put stack {stack.name!r} on {configured.docker_host} right:")
        for action in plan.actions:
            say(f"  - {action.text}")
        running = [action.name for action in plan.actions if action.verb is Verb.REMOVE_CONTAINER and action.running]
        if plan.lost:
            _confirm_lost(stack, plan.lost, refused or {}, yes=yes, ask=ask)
        elif not yes:
            ask("Do this?")
        if ends is not None and running:
            ends(running)
        actions = plan.actions
        if lock.backend_folder(backend) is None:
            _prove_unlocked(stack, yes=yes, say=say, ask=ask)
            actions = tuple(action for action in actions if action.verb is not Verb.CLEAR_PENDING)
        execute(actions, docker=docker, stack=stack, say=say)
        done += plan.actions
    raise IbgwError(
        f"After {ROUNDS} rounds stack {stack.name!r} still needs repair: something keeps changing it. "
        "Find and stop it, then run this again.",
        exit_code=ExitCode.FAILED,
    )


def _plan(stack: Stack, backend: str, configured: Configured, docker: DockerHost, *, yes: bool, ask: Ask) -> Plan:
    locks = _stale_locks(stack, backend, yes=yes, ask=ask)
    state = read_state(stack.export_state())
    _require_same_host(stack, configured, state)
    scope = Scope(configured.name_prefix, PROJECT, stack.name)
    strays = processes.stray_plugins(processes.own_processes(), program_folder(project_folder()))
    plan = make_plan(stack.name, state, take_inventory(docker, scope, state.objects), locks, strays)
    if lock.backend_folder(backend) is None:
        unseen = (
            f"locks in {backend} cannot be seen from here: if Pulumi says that the stack is locked and nobody updates "
            f"it, run `pulumi cancel --stack {stack.name}`"
        )
        return replace(plan, notes=(*plan.notes, unseen))
    return plan


def _stale_locks(stack: Stack, backend: str, *, yes: bool, ask: Ask) -> tuple[Lock, ...]:
    """The stack's locks, once it is certain, or the operator says, that nobody holds them."""
    locks = lock.read_locks(backend, PROJECT, stack.name)
    for held in locks:
        match lock.holder(held, host=socket.gethostname(), program_of=processes.program_of):
            case Holder.ALIVE:
                raise IbgwError(
                    f"An update of stack {stack.name!r} is running (lock {held}). Wait for its end, or interrupt it, "
                    "and run this again.",
                    exit_code=ExitCode.REFUSED,
                )
            case Holder.UNKNOWN:
                _confirm_lock(stack, str(held), yes=yes, ask=ask)
    return locks


def _confirm_lock(stack: Stack, what: str, *, yes: bool, ask: Ask) -> None:
    if yes:
        raise IbgwError(
            f"Stack {stack.name!r} is locked ({what}), and from here it cannot be seen whether that update still runs. "
            f"Make sure that it does not, run `pulumi cancel --stack {stack.name}`, and repeat this.",
            exit_code=ExitCode.REFUSED,
        )
    ask(f"Stack {stack.name!r} is locked ({what}). Are you certain that no update of it is running anywhere?")


def _adopt(
    stack: Stack, docker: DockerHost, plan: Plan, *, yes: bool, say: Say, ask: Ask
) -> tuple[list[Action], Mapping[str, str]]:
    """Takes running gateways that the state has lost into it, which touches nothing on the host. What was done, and of
    the gateways that were left out why."""
    say(f"The state of stack {stack.name!r} knows nothing of {', '.join(plan.lost)}, running. Looking whether it can:")
    candidates = adoption.look(stack, docker)
    _say_left_out(candidates, say)
    if not candidates.gateways:
        return [], candidates.faults
    first = [action for action in plan.actions if action.verb in (Verb.END_PROCESS, Verb.CANCEL_LOCK)]
    for text in (*(action.text for action in first), *map(_adoption, candidates.gateways.values())):
        say(f"  - {text}")
    if not yes:
        ask("Do this? It ends no session.")
    execute(first, docker=docker, stack=stack, say=say)
    taken = adoption.take_in(stack, candidates)
    _say_left_out(
        replace(taken, faults={key: taken.faults[key] for key in taken.faults.keys() - candidates.faults}), say
    )
    adopted = [Action(Verb.ADOPT, name, name, _adoption(name)) for name in taken.gateways.values()]
    return [*first, *adopted], taken.faults


def _adoption(container: str) -> str:
    return f"record {container}, its networks and volumes as they are: without a login, and nothing of it is touched"


def _say_left_out(candidates: Candidates, say: Say) -> None:
    for gateway, why in candidates.faults.items():
        say(f"  - gateway {gateway} cannot be recorded: {why}")


def _confirm_lost(stack: Stack, names: Sequence[str], refused: Mapping[str, str], *, yes: bool, ask: Ask) -> None:
    why = "".join(f"\n  - gateway {gateway}: {fault}" for gateway, fault in refused.items())
    what = (
        f"The state of stack {stack.name!r} knows nothing of {', '.join(names)}, running, and cannot take it in:{why}\n"
        f"Have Pulumi.{stack.name}.yaml say what it was deployed with (`git log -p Pulumi.{stack.name}.yaml`), or put "
        "the state's last version back (docs/disaster.md); either costs no login"
    )
    if yes:
        raise IbgwError(
            f"{what}. To remove the gateways instead and log in anew, run this without --yes.",
            exit_code=ExitCode.REFUSED,
        )
    ask(f"{what}. Remove what runs instead, which ends its sessions?")


def _prove_unlocked(stack: Stack, *, yes: bool, say: Say, ask: Ask) -> None:
    """Writes the state without pending operations, before anything else is touched.

    A lock that only Pulumi can see shows itself at no other time than when the state is written.
    """
    say("write the state back without pending operations, which also shows whether an update holds the stack's lock")
    try:
        stack.clear_pending()
    except StackLockedError:
        _confirm_lock(stack, "by a run that this machine cannot see", yes=yes, ask=ask)
        stack.cancel_lock()
        stack.clear_pending()


def _require_same_host(stack: Stack, configured: Configured, state: State) -> None:
    """What is recorded can only be missed on the host that it was created on."""
    others = state.hosts - {configured.docker_host}
    if others:
        raise IbgwError(
            f"{PROJECT}:dockerHost of stack {stack.name!r} is {configured.docker_host}, but its state describes "
            f"objects on {', '.join(sorted(others))}. Set it back for the repair; move the stack afterwards.",
            exit_code=ExitCode.REFUSED,
        )
