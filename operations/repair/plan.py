"""What has to be done to a stack, from what is recorded and what there is. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from deployment.names import Role
from deployment.parts import Attachment
from deployment.tables import Kind
from operations.repair.inventory import Existing, Inventory
from operations.repair.lock import Lock
from operations.repair.processes import Process
from operations.repair.state import Recorded, State


class Verb(StrEnum):
    """What an action does; in the order in which actions are carried out."""

    END_PROCESS = "end_process"
    CANCEL_LOCK = "cancel_lock"
    ADOPT = "adopt"
    """Of what the state has lost (operations.repair.adoption), before there is a plan for the rest."""
    REMOVE_CONTAINER = "remove_container"
    REMOVE_NETWORK = "remove_network"
    CLEAR_PENDING = "clear_pending"
    FORGET = "forget"
    RENAME = "rename"
    CONNECT = "connect"
    DISCONNECT = "disconnect"


@dataclass(frozen=True)
class Action:
    """One change. `id` is a process's pid, an object's id on the Docker host or, for `forget`, a URN.

    `text` says all of it in one sentence. `grace`: seconds to stop. `guests`: ids of foreign containers to disconnect
    first. `network` and `aliases`: for connect and disconnect.
    """

    verb: Verb
    id: str
    name: str
    text: str
    running: bool = False
    grace: int = 0
    guests: tuple[str, ...] = ()
    network: str = ""
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """`notes`: what the operator should know or do, and repair leaves alone. `lost`: the names of running gateways of
    which the state knows nothing at all."""

    actions: tuple[Action, ...] = ()
    notes: tuple[str, ...] = field(default=())
    lost: tuple[str, ...] = ()


def make_plan(
    stack: str, state: State, inventory: Inventory, locks: Sequence[Lock] = (), strays: Iterable[Process] = ()
) -> Plan:
    """Compares what is recorded with what there is."""
    recorded = {(entry.kind, entry.id): entry for entry in state.objects}
    unrecorded = [existing for existing in inventory.objects if (existing.kind, existing.id) not in recorded]
    failed_owners = [
        existing
        for existing in inventory.objects
        if existing.role == Role.SETTINGS_OWNER
        and (existing.kind, existing.id) in recorded
        and existing.exit_code not in (None, 0)
    ]
    leaving = {existing.id for existing in (*unrecorded, *failed_owners) if existing.kind is Kind.CONTAINER}
    again = {recorded[existing.kind, existing.id].urn for existing in failed_owners} | inventory.missing
    kept = [
        (recorded[existing.kind, existing.id], existing)
        for existing in inventory.objects
        if (existing.kind, existing.id) in recorded and existing.id not in leaving
    ]
    own = {
        existing.id
        for existing in inventory.objects
        if existing.kind is Kind.NETWORK and existing.gateway is not None and (existing.kind, existing.id) in recorded
    }
    actions = [
        *(_end(process) for process in strays),
        *([_cancel(locks)] if locks else []),
        *(_remove_container(existing) for existing in unrecorded if existing.kind is Kind.CONTAINER),
        *(_remove_failed_owner(existing) for existing in failed_owners),
        *(_remove_network(existing, leaving) for existing in unrecorded if existing.kind is Kind.NETWORK),
        *([_clear(state.pending)] if state.pending else []),
        *(_forget(entry) for entry in state.objects if entry.urn in again and not entry.doomed),
        *(action for was, now in kept for action in _put_back(was, now, inventory)),
    ]
    order = list(Verb)
    return Plan(
        actions=tuple(sorted(actions, key=lambda action: order.index(action.verb))),
        notes=tuple(_notes(stack, unrecorded, kept)),
        lost=tuple(existing.name for existing in unrecorded if _is_lost(existing, own)),
    )


def _is_lost(existing: Existing, own: set[str]) -> bool:
    """Whether it is a running gateway that no interrupted update left: a network of its own is recorded before it.
    `own`: the recorded networks that are one gateway's."""
    return existing.role == Role.GATEWAY and existing.running and own.isdisjoint(existing.networks or ())


def _end(process: Process) -> Action:
    return Action(
        Verb.END_PROCESS,
        str(process.pid),
        process.command[0],
        f"end process {process.pid} ({process}), a plug-in whose engine is gone",
    )


def _cancel(locks: Sequence[Lock]) -> Action:
    return Action(Verb.CANCEL_LOCK, "", "lock", "remove the stack's lock: " + ", ".join(str(lock) for lock in locks))


def _remove_container(existing: Existing) -> Action:
    stopping = (
        f"end its session, with {existing.grace} s to log out, and "
        if existing.running and existing.role == Role.GATEWAY
        else ""
    )
    return Action(
        Verb.REMOVE_CONTAINER,
        existing.id,
        existing.name,
        f"container {existing.name} ({existing.role}) is not in the stack's state: {stopping}remove it",
        running=existing.running,
        grace=existing.grace,
    )


def _remove_failed_owner(existing: Existing) -> Action:
    return Action(
        Verb.REMOVE_CONTAINER,
        existing.id,
        existing.name,
        f"container {existing.name} ended with exit code {existing.exit_code} before the settings volume had its "
        "owner: remove it, so that the next update runs it again",
    )


def _remove_network(existing: Existing, leaving: set[str]) -> Action:
    foreign = [guest for guest in existing.guests if guest.id not in leaving]
    who = ", ".join(sorted(guest.name for guest in foreign))
    return Action(
        Verb.REMOVE_NETWORK,
        existing.id,
        existing.name,
        f"network {existing.name} is not in the stack's state: "
        + (f"disconnect {who} from it (connect again after the next update) and " if who else "")
        + "remove it",
        guests=tuple(guest.id for guest in foreign),
    )


def _clear(pending: Sequence[str]) -> Action:
    names = ", ".join(urn.rpartition("::")[2] for urn in pending)
    return Action(Verb.CLEAR_PENDING, "", "pending operations", f"clear pending operations from the state: {names}")


def _forget(gone: Recorded) -> Action:
    return Action(
        Verb.FORGET,
        gone.urn,
        gone.name,
        f"{gone.kind} {gone.name} is in the state and not on the Docker host: forget it, so that the next update "
        "creates it again",
    )


def _put_back(was: Recorded, now: Existing, inventory: Inventory) -> Iterable[Action]:
    """Undoes what was done to a recorded container by hand, where that needs no new login."""
    if was.kind is not Kind.CONTAINER or was.doomed:
        return
    if now.name != was.name:
        yield Action(
            Verb.RENAME, now.id, was.name, f"container {was.name} was renamed to {now.name}: give it its name back"
        )
    # Of a container that does not run, Docker does not know the networks' ids.
    if was.attachments is None or not now.running or now.networks is None:
        return
    declared = {network: attachment for attachment in was.attachments if (network := _known(attachment, inventory))}
    for network, attachment in declared.items():
        if network.id not in now.networks:
            yield Action(
                Verb.CONNECT,
                now.id,
                was.name,
                f"container {was.name} was disconnected from network {network.name}: connect it again",
                network=network.id,
                aliases=attachment.aliases,
            )
    # What was declared by a name or an id that the host does not know under our labels is not foreign for all that.
    expected = {network.id for network in declared} | {attachment.network for attachment in was.attachments}
    for network_id, name in now.networks.items():
        if expected.isdisjoint({network_id, name}):
            yield Action(
                Verb.DISCONNECT,
                now.id,
                was.name,
                f"container {was.name} was connected to network {name}, which is not the stack's: disconnect it",
                network=network_id,
            )


def _known(attachment: Attachment, inventory: Inventory) -> Existing | None:
    return next(
        (
            existing
            for existing in inventory.objects
            if existing.kind is Kind.NETWORK and attachment.network in (existing.id, existing.name)
        ),
        None,
    )


def _notes(stack: str, unrecorded: Iterable[Existing], kept: Iterable[tuple[Recorded, Existing]]) -> Iterable[str]:
    for existing in unrecorded:
        if existing.kind is Kind.VOLUME:
            yield f"volume {existing.name} is not in the stack's state: it stays, and the next update adopts it"
    for was, now in kept:
        if now.role == Role.GATEWAY and not now.running and not was.doomed:
            yield (
                f"gateway {now.gateway} is stopped, and `pulumi up` does not start it: "
                f"`ibgw start --stack {stack} --gateway {now.gateway}` does"
            )
