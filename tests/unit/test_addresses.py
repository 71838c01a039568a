"""Subnets stay where they are when gateways come and go, and collisions are refused with a way out."""

from ipaddress import IPv4Network

import pytest

from deployment.errors import IbgwError
from infra.addresses import api_subnets, egress_subnet

POOL = IPv4Network("10.213.0.0/20")


def test_egress_has_the_first_24_and_gateways_lie_behind_it() -> None:
    assert egress_subnet(POOL) == IPv4Network("10.213.0.0/24")
    subnet = api_subnets(POOL, {"main": None})["main"]
    assert subnet.prefixlen == 28
    assert subnet.subnet_of(POOL)
    assert not subnet.overlaps(egress_subnet(POOL))


def test_nobody_moves_when_another_gateway_comes() -> None:
    alone = api_subnets(POOL, {"main": None})
    together = api_subnets(POOL, {"main": None, "aaa": None, "zzz": None})
    assert together["main"] == alone["main"]
    assert len(set(together.values())) == 3


def test_a_collision_is_refused_with_a_free_subnet_to_paste() -> None:
    taken = api_subnets(POOL, {"main": None})["main"]
    with pytest.raises(IbgwError, match=r"gateway 'aaa'; set ibgw:gateways\.main\.apiSubnet: 10\.213\.") as refused:
        api_subnets(POOL, {"main": None, "aaa": taken})
    free = IPv4Network(str(refused.value).rpartition(" ")[2])
    assert api_subnets(POOL, {"main": free, "aaa": taken}) == {"main": free, "aaa": taken}


def test_a_subnet_of_the_egress_network_is_refused() -> None:
    with pytest.raises(IbgwError, match="overlaps the egress network"):
        api_subnets(POOL, {"main": IPv4Network("10.213.0.16/28")})
