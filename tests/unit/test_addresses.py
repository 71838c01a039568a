"""Existing networks keep their subnets, new ones find a place, and nobody moves when others come and go."""

import random
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network
from itertools import pairwise

import pytest

from deployment.errors import ExitCode, IbgwError
from deployment.names import Names
from infra.addresses import Held, Subnets, choose
from infra.settings import Network

POOL: IPv4Network = Network.model_fields["subnet_pool"].default
NAMES = Names("ibgw", "paper")
FOREIGN = Held("company", IPv4Network("10.213.0.64/27"), ours=False)


def unconfigured(*names: str) -> dict[str, IPv4Network | None]:
    return dict.fromkeys(names)


class Host:
    """A Docker host, and an update of stacks on it as the engine does it: it removes at the end what left."""

    def __init__(self, *foreign: Held) -> None:
        self.foreign = foreign
        self.stacks: dict[Names, dict[str, IPv4Network]] = {}

    def held(self, whose: Names) -> list[Held]:
        ours = [
            Held(network, subnet, ours=names == whose)
            for names, networks in self.stacks.items()
            for network, subnet in networks.items()
        ]
        return [*self.foreign, *ours]

    def choose(
        self, gateways: Mapping[str, IPv4Network | None], names: Names = NAMES, pool: IPv4Network = POOL
    ) -> Subnets:
        return choose(pool, gateways, names, self.held(names))

    def update(
        self, gateways: Mapping[str, IPv4Network | None], names: Names = NAMES, pool: IPv4Network = POOL
    ) -> Subnets:
        chosen = self.choose(gateways, names, pool)
        wanted = networks(chosen, names)
        before = self.stacks.get(names, {})
        self.stacks[names] = before | wanted
        assert_apart(one.subnet for one in self.held(names))
        self.stacks[names] = wanted
        assert self.choose(gateways, names, pool) == chosen, "the preview after an update shows a change"
        return chosen


def networks(chosen: Subnets, names: Names = NAMES) -> dict[str, IPv4Network]:
    api = {names.api_network(gateway): subnet for gateway, subnet in chosen.api.items()}
    return {names.egress_network: chosen.egress, **api}


def assert_apart(subnets: Iterable[IPv4Network]) -> None:
    ordered = sorted(subnets)
    for one, following in pairwise(ordered):
        assert one.broadcast_address < following.network_address, f"{one} overlaps {following}"


def random_name(chance: random.Random) -> str:
    return "g" + "".join(chance.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=chance.randint(1, 20)))


def test_egress_has_the_first_24_and_gateways_lie_behind_it() -> None:
    chosen = choose(POOL, unconfigured("main"), NAMES)
    assert chosen.egress == IPv4Network("10.213.0.0/24")
    assert chosen.api["main"].prefixlen == 28
    assert chosen.api["main"].subnet_of(POOL)
    assert not chosen.api["main"].overlaps(chosen.egress)


def test_the_hashed_places_are_those_of_the_versions_before() -> None:
    """A stack whose networks are gone gets the subnets that its state has."""
    chosen = choose(POOL, unconfigured("main", "second"), NAMES)
    assert chosen.api == {"main": IPv4Network("10.213.11.176/28"), "second": IPv4Network("10.213.14.16/28")}


@pytest.mark.parametrize("seed", range(3))
def test_200_gateways_of_any_names_fit_into_the_default_pool(seed: int) -> None:
    chance = random.Random(seed)
    names = {random_name(chance) for _ in range(400)}
    gateways = unconfigured(*sorted(names)[:200])
    host = Host()
    chosen = host.update(gateways)
    assert len(chosen.api) == 200
    assert all(subnet.subnet_of(POOL) for subnet in chosen.api.values())
    # In another order, and on an empty host again: the same.
    assert choose(POOL, dict(reversed(gateways.items())), NAMES) == chosen


@pytest.mark.parametrize("seed", range(5))
def test_nobody_moves_while_others_come_and_go(seed: int) -> None:
    """Two stacks that share the default pool of a host, with other networks in it."""
    chance = random.Random(seed)
    host, stacks = Host(FOREIGN), {Names("ibgw", "paper"): unconfigured(), Names("ibgw", "paper-two"): unconfigured()}
    for names, gateways in stacks.items():
        host.update(gateways, names)
    for _ in range(60):
        names = chance.choice(list(stacks))
        before, known = host.stacks.get(names, {}), list(stacks[names])
        leaving = chance.sample(known, k=min(len(known), chance.randint(0, 8)))
        coming = [random_name(chance) for _ in range(chance.randint(0, 12))]
        room = 90 - len(known) + len(leaving)
        stacks[names] = unconfigured(*(set(known) - set(leaving)), *coming[:room])
        after = networks(host.update(stacks[names], names), names)
        assert {name: after[name] for name in before if name in after} == {
            name: subnet for name, subnet in before.items() if name in after
        }


def test_a_place_that_is_taken_is_passed_over_whoever_has_it() -> None:
    hashed = choose(POOL, unconfigured("main"), NAMES).api["main"]
    following = IPv4Network((int(hashed.network_address) + 16, 28))
    for taken in (hashed, IPv4Network((int(hashed.network_address), 30))):
        for ours in (True, False):
            assert choose(POOL, unconfigured("main"), NAMES, [Held("other", taken, ours)]).api["main"] == following
    assert choose(POOL, {"main": None, "other": hashed}, NAMES).api["main"] == following


def test_updates_of_chosen_gateways_take_the_places_that_the_preview_showed() -> None:
    """`ibgw rollout`: each step declares all, creates one gateway's networks and reads the host anew."""
    chance = random.Random(7)
    host = Host(FOREIGN)
    old = [random_name(chance) for _ in range(100)]
    host.update(unconfigured(*old))
    new = [random_name(chance) for _ in range(80)]
    everyone = unconfigured(*old, *new)
    shown = networks(host.choose(everyone))
    for gateway in chance.sample(new, k=len(new)):
        step = networks(host.choose(everyone))
        assert step == shown
        host.stacks[NAMES][NAMES.api_network(gateway)] = step[NAMES.api_network(gateway)]


def test_a_lost_state_changes_nothing_while_the_networks_are_there() -> None:
    """Where they lie says the host alone. Without them each goes to its first free place again."""
    host = Host()
    first = host.update(unconfigured("a", "b", "c"))
    moved = {NAMES.api_network("a"): IPv4Network("10.213.5.0/28"), NAMES.egress_network: IPv4Network("10.213.7.0/24")}
    host.stacks[NAMES] |= moved
    kept = host.choose(unconfigured("a", "b", "c"))
    assert (kept.egress, kept.api["a"]) == (IPv4Network("10.213.7.0/24"), IPv4Network("10.213.5.0/28"))
    assert (kept.api["b"], kept.api["c"]) == (first.api["b"], first.api["c"])
    host.stacks.clear()
    assert host.choose(unconfigured("a", "b", "c")) == first


def test_a_network_of_our_name_that_is_not_ours_is_not_kept() -> None:
    stray = Held(NAMES.api_network("main"), IPv4Network("10.213.5.0/28"), ours=False)
    assert choose(POOL, unconfigured("main"), NAMES, [stray]) == choose(POOL, unconfigured("main"), NAMES)


def test_a_renamed_gateway_s_old_network_is_not_overlapped_in_the_same_update() -> None:
    host = Host()
    names = [f"old-{at}" for at in range(230)]
    host.update(unconfigured(*names))
    # Ten places are left beside the old ones, which go at the end: `update` looks at both together.
    host.update(unconfigured(*(name.replace("old", "new") if at < 10 else name for at, name in enumerate(names))))


@pytest.mark.parametrize(
    ("pool", "stays"), [("10.213.0.0/16", True), ("10.213.16.0/20", False), ("10.214.0.0/16", False)]
)
def test_networks_move_with_a_pool_that_no_longer_holds_them(pool: str, stays: bool) -> None:
    host = Host()
    before = host.update(unconfigured("a", "b"))
    after = host.update(unconfigured("a", "b"), pool=IPv4Network(pool))
    assert all(subnet.subnet_of(IPv4Network(pool)) for subnet in (after.egress, *after.api.values()))
    assert (after == before) == stays


def test_a_configured_subnet_wins_and_may_lie_elsewhere() -> None:
    host = Host()
    host.update(unconfigured("a", "b"))
    first, second = IPv4Network("10.9.0.0/28"), IPv4Network("10.213.9.16/28")
    assert host.update({"a": first, "b": second}).api == {"a": first, "b": second}
    # Taken out of the configuration again, one that lies in the pool stays.
    after = host.update(unconfigured("a", "b"))
    assert after.api == {"a": choose(POOL, unconfigured("a"), NAMES).api["a"], "b": second}


def test_two_configured_subnets_may_be_swapped() -> None:
    host = Host()
    first, second = IPv4Network("10.213.9.0/28"), IPv4Network("10.213.9.16/28")
    host.update({"a": first, "b": second})
    assert host.choose({"a": second, "b": first}).api == {"a": second, "b": first}


@pytest.mark.parametrize("exists", [False, True])
def test_a_configured_subnet_of_another_gateway_is_refused_with_a_free_one(exists: bool) -> None:
    host, taken = Host(), IPv4Network("10.213.9.0/28")
    if exists:
        host.update({"aaa": taken})
    gateways = {"aaa": None if exists else taken, "main": taken}
    with pytest.raises(
        IbgwError, match=r"gateways\.\w+\.apiSubnet: 10\.213\.9\.0/28 overlaps gateway '\w+'"
    ) as refused:
        host.choose(gateways)
    assert refused.value.exit_code is ExitCode.REFUSED
    named = str(refused.value).split(".")[1]
    free = IPv4Network(str(refused.value).rpartition(" ")[2])
    assert host.choose(gateways | {named: free}).api[named] == free


def test_a_subnet_of_the_egress_network_is_refused() -> None:
    with pytest.raises(
        IbgwError, match=r"main\.apiSubnet: 10\.213\.0\.16/28 overlaps the egress network's 10\.213\.0\.0/24"
    ):
        choose(POOL, {"main": IPv4Network("10.213.0.16/28")}, NAMES)


def test_a_full_pool_is_refused_with_what_holds_it() -> None:
    host = Host(FOREIGN)
    host.update(unconfigured(*(f"g{at}" for at in range(200))))
    with pytest.raises(
        IbgwError, match=r"'ibgw-paper-\w+-api' finds no free place .* of network 'company', .* more;"
    ) as full:
        host.update(unconfigured(*(f"g{at}" for at in range(300))))
    assert full.value.exit_code is ExitCode.REFUSED
    assert "set another ibgw:network.subnetPool" in str(full.value)
    # As the refusal says.
    before, pool = host.choose(unconfigured("g1")), IPv4Network("10.213.0.0/19")
    assert host.update(unconfigured(*(f"g{at}" for at in range(300))), pool=pool).api["g1"] == before.api["g1"]


def test_a_network_that_holds_the_whole_pool_and_more_is_no_long_search() -> None:
    with pytest.raises(IbgwError, match=r"'ibgw-paper-egress' finds no free place .* overlaps 10\.0\.0\.0/8 of"):
        choose(POOL, unconfigured("main"), NAMES, [Held("vpn", IPv4Network("10.0.0.0/8"), ours=False)])


def test_a_network_to_watch_from_moves_nobody_and_stays() -> None:
    plain = choose(POOL, unconfigured("main", "second"), NAMES)
    watched = choose(POOL, unconfigured("main", "second"), NAMES, others=[NAMES.monitoring, NAMES.way_out])
    assert (watched.egress, watched.api) == (plain.egress, plain.api)
    inner, out = watched.others[NAMES.monitoring], watched.others[NAMES.way_out]
    assert not inner.overlaps(out)
    for subnet in (inner, out):
        assert not any(subnet.overlaps(other) for other in (plain.egress, *plain.api.values()))
    held = [Held(NAMES.monitoring, inner, ours=True)]
    assert choose(POOL, {"main": None}, NAMES, held, [NAMES.monitoring]).others == {NAMES.monitoring: inner}
