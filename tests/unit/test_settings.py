"""Every rule of the configuration has at least one bad configuration here, refused with its key and a remedy."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployment.errors import ExitCode, IbgwError
from infra.settings import Settings, load
from tests.leaks import leaks

ROOT = Path(__file__).resolve().parents[2]
REMOVED = object()


def tracked(stack: str) -> dict[str, Any]:
    document = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())
    return dict(document["config"])


def as_engine(config: dict[str, Any]) -> dict[str, str]:
    """The engine hands objects over as JSON text, plain strings as they are."""
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}


def changed(stack: str, changes: dict[str, Any]) -> dict[str, str]:
    config = copy.deepcopy(tracked(stack))
    for path, value in changes.items():
        *folders, last = path.split(".")
        place = config
        for folder in folders:
            place = place.setdefault(folder, {})
        if value is REMOVED:
            del place[last]
        else:
            place[last] = value
    return as_engine(config)


MAIN = "ibgw:gateways.main"
SECOND = {"credentials": {"secretId": "ibgw/paper/second"}, "session": {"autoRestart": "23:00"}}

# Each row: stack, what is changed in its tracked file, the key that the message names, and a piece of the remedy.
BAD: list[Any] = [
    pytest.param("paper", {"ibgw:mode": REMOVED}, "ibgw:mode", "missing", id="no-mode"),
    pytest.param("paper", {"ibgw:mode": "demo"}, "ibgw:mode", "'paper' or 'live'", id="unknown-mode"),
    pytest.param("paper", {"ibgw:mode": "both"}, "ibgw:mode", "two stacks here", id="mode-both"),
    pytest.param("paper", {"ibgw:dockerHost": REMOVED}, "ibgw:dockerHost", "missing", id="no-docker-host"),
    pytest.param(
        "paper", {"ibgw:dockerHost": "tcp://1.2.3.4:2375"}, "ibgw:dockerHost", "ssh://user@host", id="tcp-host"
    ),
    pytest.param("paper", {"ibgw:dockerHost": "ssh://host"}, "ibgw:dockerHost", "ssh://user@host", id="ssh-no-user"),
    pytest.param("paper", {"ibgw:gateways": REMOVED}, "ibgw:gateways", "missing", id="no-gateways"),
    pytest.param("paper", {"ibgw:gateways": {}}, "ibgw:gateways", "at least one", id="empty-gateways"),
    pytest.param(
        "paper", {"ibgw:gateways": "main"}, "ibgw:gateways", "expected names, such as main", id="gateways-not-an-object"
    ),
    pytest.param(
        "paper", {"ibgw:gateways.Main": SECOND}, "ibgw:gateways.Main", "did you mean main?", id="gateway-name"
    ),
    pytest.param(
        "paper", {"ibgw:gateways.a-settings-owner": SECOND}, "a-settings-owner", "collides", id="reserved-gateway-name"
    ),
    pytest.param(
        "paper", {"ibgw:gateways.abcdefghijabcdefghijabcdefghijx": SECOND}, "abcdefghijx", "30", id="long-name"
    ),
    *(
        pytest.param(
            "paper",
            {f"ibgw:gateways.{key}": value},
            f"ibgw:gateways.{key}: read as a gateway",
            f"such as ibgw:gateways.main.{key}",
            id=f"{key}-without-a-gateway",
        )
        for key, value in (("session", {"autoRestart": "23:00"}), ("api", {"readOnly": True}), ("container", {}))
    ),
    pytest.param("paper", {"ibgw:imagee": "x"}, "ibgw:imagee", "did you mean image?", id="unknown-key"),
    pytest.param("paper", {f"{MAIN}.api.readonly": True}, "api.readonly", "did you mean readOnly?", id="misspelt-key"),
    pytest.param(
        "paper",
        {f"{MAIN}.clients": [{"lable": "a=b"}]},
        f"{MAIN}.clients.0.lable",
        "did you mean label?",
        id="in-a-list",
    ),
    pytest.param(
        "paper",
        {f"{MAIN}.session.offline": {"form": "00:00", "until": "06:00"}},
        f"{MAIN}.session.offline.form",
        "did you mean from?",
        id="in-what-may-be-absent",
    ),
    pytest.param("paper", {f"{MAIN}.ports": [4002]}, f"{MAIN}.ports", "ibgw forward", id="unknown-gateway-key"),
    pytest.param("paper", {f"{MAIN}.anything": 1}, f"{MAIN}.anything", "known here", id="unknown-without-answer"),
    pytest.param("paper", {f"{MAIN}.sshTunnel": True}, f"{MAIN}.sshTunnel", "unknown key", id="ssh-tunnel"),
    pytest.param("paper", {"ibgw:namePrefix": "IB_"}, "ibgw:namePrefix", "lower-case letters", id="prefix"),
    pytest.param("paper", {"ibgw:platform": "linux/386"}, "ibgw:platform", "linux/amd64", id="platform"),
    pytest.param("paper", {"ibgw:image": REMOVED}, "ibgw:image", "names its image", id="paper-without-image"),
    pytest.param("paper", {"ibgw:release": "20260101T000000Z-0123456789ab"}, "ibgw:release", "no ibgw:release", id="r"),
    pytest.param("paper", {"ibgw:image": "ghcr.io/gnzsnz/ib-gateway:latest"}, "ibgw:image", "10.45.1j", id="latest"),
    pytest.param("paper", {"ibgw:image": "ghcr.io/gnzsnz/ib-gateway:stable"}, "ibgw:image", "10.45.1j", id="stable"),
    pytest.param("paper", {"ibgw:image": "ghcr.io/gnzsnz/ib-gateway:10.45"}, "ibgw:image", "moves", id="moving-minor"),
    pytest.param("paper", {"ibgw:image": "ghcr.io/gnzsnz/ib-gateway"}, "ibgw:image", "latest", id="no-tag"),
    pytest.param("paper", {"ibgw:image": "ib-gateway"}, "ibgw:image", "not an image reference", id="bare-name"),
    pytest.param("paper", {"ibgw:image": "a/b@sha256:12"}, "ibgw:image", "64 hexadecimal", id="short-digest"),
    pytest.param(
        "live", {"ibgw:image": "ghcr.io/gnzsnz/ib-gateway:10.45.1j"}, "ibgw:image", "promoted", id="live-image"
    ),
    pytest.param("live", {"ibgw:release": "v1"}, "ibgw:release", "ibgw releases", id="release-id"),
    pytest.param(
        "paper", {"ibgw:verifier.baseImage": "python"}, "ibgw:verifier.baseImage", "names no tag", id="base-image"
    ),
    pytest.param(
        "paper", {"ibgw:verifier.baseImage": "python:latest"}, "baseImage", "moves to other", id="base-latest"
    ),
    *(
        pytest.param(
            "live", {"ibgw:verifier.baseImage": tag}, "ibgw:verifier.baseImage", "@sha256:...", id=f"live-{tag}"
        )
        for tag in ("docker.io/library/python:3.11.16", "python:3.11.16-slim-bookworm", "a.example/b/c:1.0.0")
    ),
    pytest.param("paper", {"ibgw:verifier.timeout": "10"}, "ibgw:verifier.timeout", "10m", id="duration-without-unit"),
    pytest.param("paper", {"ibgw:verifier.timeout": 600}, "ibgw:verifier.timeout", "in quotes", id="duration-number"),
    pytest.param("paper", {"ibgw:verifier.timeout": "2h"}, "ibgw:verifier.timeout", "10s to 1h", id="timeout-range"),
    pytest.param("paper", {"ibgw:network.subnetPool": "8.8.0.0/20"}, "subnetPool", "private", id="public-pool"),
    pytest.param("paper", {"ibgw:network.subnetPool": "10.0.0.0/25"}, "subnetPool", "/23", id="small-pool"),
    pytest.param("paper", {"ibgw:network.subnetPool": "10.0.0.1/20"}, "subnetPool", "host bits", id="host-bits"),
    pytest.param("paper", {f"{MAIN}.apiSubnet": "10.213.2.0/24"}, "apiSubnet", "/28", id="api-subnet"),
    pytest.param("paper", {"ibgw:tradingHours.close": "09:30"}, "ibgw:tradingHours", "both 09:30", id="hours"),
    pytest.param("paper", {"ibgw:tradingHours.days": ["monday"]}, "ibgw:tradingHours.days", "'mon'", id="day"),
    pytest.param("paper", {"ibgw:tradingHours.days": []}, "ibgw:tradingHours.days", "at least one", id="no-day"),
    pytest.param("paper", {f"{MAIN}.credentials": REMOVED}, f"{MAIN}.credentials", "missing", id="no-credentials"),
    pytest.param("paper", {f"{MAIN}.credentials.secretId": ""}, "credentials.secretId", "name or ARN", id="no-secret"),
    pytest.param(
        "paper",
        {f"{MAIN}.credentials.versionId": "1"},
        "credentials.versionId",
        "list-secret-version-ids",
        id="version-id",
    ),
    pytest.param("paper", {f"{MAIN}.credentials.password": "x"}, "credentials.password", "unknown key", id="password"),
    pytest.param(
        "paper",
        {"ibgw:gateways.second": {**SECOND, "credentials": {"secretId": "ibgw/paper/main"}}},
        "ibgw:gateways.second.credentials.secretId",
        "one session",
        id="same-secret-twice",
    ),
    pytest.param(
        "paper", {f"{MAIN}.account.expected": ["U1234567"]}, "account.expected", "begin with D", id="live-acct"
    ),
    pytest.param(
        "live", {f"{MAIN}.account.expected": ["DU1234567"]}, "account.expected", "begin with D", id="paper-acct"
    ),
    pytest.param("live", {f"{MAIN}.account.expected": []}, "account.expected", "missing", id="live-any-acct"),
    pytest.param("live", {f"{MAIN}.account": REMOVED}, "account.expected", "missing", id="live-no-acct"),
    pytest.param(
        "paper", {f"{MAIN}.account.expected": ["me"]}, "account.expected", "DU1234567 on paper", id="account-form"
    ),
    pytest.param("paper", {f"{MAIN}.api.readOnly": "yes"}, "api.readOnly", "true or false", id="yes-is-no-boolean"),
    pytest.param("paper", {f"{MAIN}.api.acceptIncoming": "all"}, "api.acceptIncoming", "'reject'", id="accept"),
    pytest.param("paper", {f"{MAIN}.api.masterClientId": -1}, "api.masterClientId", "greater than", id="master-id"),
    pytest.param("paper", {f"{MAIN}.session.existingSession": "kick"}, "existingSession", "'primary'", id="existing"),
    pytest.param("paper", {f"{MAIN}.session.timeZone": "New York"}, "session.timeZone", "IANA", id="zone"),
    pytest.param("paper", {f"{MAIN}.session.autoRestart": "11:59 PM"}, "autoRestart", "HH:MM", id="twelve-hour"),
    pytest.param(
        "paper", {f"{MAIN}.session.autoRestart": "24:00"}, "session.autoRestart", "HH:MM", id="impossible-time"
    ),
    pytest.param("paper", {f"{MAIN}.session.autoLogoff": "22:00"}, f"{MAIN}.session", "exactly one", id="both-times"),
    pytest.param("paper", {f"{MAIN}.session.autoRestart": REMOVED}, f"{MAIN}.session", "exactly one", id="no-time"),
    pytest.param("paper", {f"{MAIN}.session.coldRestart": "23:30"}, f"{MAIN}.session", "an hour", id="colliding-times"),
    pytest.param(
        "paper", {f"{MAIN}.session.autoRestart": "05:30"}, f"{MAIN}.session", "the weekly login", id="restart before it"
    ),
    pytest.param(
        "paper",
        {
            f"{MAIN}.session.autoRestart": "23:00",
            f"{MAIN}.session.coldRestart": "05:00",
            f"{MAIN}.session.timeZone": "America/Los_Angeles",
        },
        f"{MAIN}.session",
        "the weekly login",
        id="restart on the evening before it",
    ),
    pytest.param("paper", {f"{MAIN}.session.coldRestart": "00:30"}, f"{MAIN}.session", "an hour", id="around-midnight"),
    pytest.param(
        "paper",
        {f"{MAIN}.session.coldRestart": "00:30", f"{MAIN}.session.autoRestart": "12:00"},
        f"{MAIN}.session",
        "until 01:00 on Sunday",
        id="cold-restart-too-early",
    ),
    pytest.param(
        "paper",  # allowed in summer, an hour too early in winter
        {f"{MAIN}.session.coldRestart": "14:30", f"{MAIN}.session.timeZone": "Asia/Tokyo"},
        f"{MAIN}.session",
        "until 01:00 on Sunday",
        id="cold-restart-too-early-in-winter",
    ),
    pytest.param("paper", {f"{MAIN}.session.saveSettings": "1m"}, "session.saveSettings", "5m to 12h", id="save"),
    pytest.param("paper", {f"{MAIN}.secondFactor.method": "sms"}, "secondFactor", "nothing here receives it", id="sms"),
    pytest.param("paper", {f"{MAIN}.secondFactor.method": "totp"}, "secondFactor", "needs secretId", id="no seed"),
    pytest.param("paper", {f"{MAIN}.secondFactor.secretId": "s"}, "secondFactor", "no other method", id="seed alone"),
    pytest.param("paper", {f"{MAIN}.secondFactor.anyClock": True}, "secondFactor", "means nothing", id="clock alone"),
    pytest.param(
        "paper",
        {f"{MAIN}.secondFactor": {"method": "totp", "secretId": "ibgw/paper/main"}},
        "secondFactor.secretId",
        "a seed has a secret of its own",
        id="seed among credentials",
    ),
    pytest.param(
        "live",
        {f"{MAIN}.secondFactor": {"method": "totp", "secretId": "ibgw/live/main/seed"}},
        "secondFactor.method",
        "ibgw:acceptUntested: [totp]",
        id="totp on live",
    ),
    pytest.param(
        "paper", {f"{MAIN}.secondFactor.device": "IB Key"}, "secondFactor", "method push", id="device-for-none"
    ),
    pytest.param("paper", {f"{MAIN}.secondFactor.onTimeout": "wait"}, "onTimeout", "'exit'", id="on-timeout"),
    pytest.param(
        "paper", {f"{MAIN}.secondFactor.exitInterval": "1s"}, "exitInterval", "10s to 10m", id="exit-interval"
    ),
    pytest.param("paper", {f"{MAIN}.resources.javaHeap": 4096}, f"{MAIN}.resources", "4608", id="heap-above-memory"),
    pytest.param("paper", {f"{MAIN}.resources.javaHeap": 1100}, f"{MAIN}.resources", "1612", id="no-headroom"),
    pytest.param("paper", {f"{MAIN}.resources.javaHeap": "768"}, "resources.javaHeap", "whole number", id="heap-text"),
    pytest.param("paper", {f"{MAIN}.resources.memory": 100}, "resources.memory", "512", id="memory"),
    pytest.param("paper", {f"{MAIN}.container.stopGrace": "10s"}, "container.stopGrace", "60s to 10m", id="grace"),
    pytest.param("paper", {f"{MAIN}.container.probeInterval": "1s"}, "probeInterval", "5s to 10m", id="probe"),
    pytest.param("paper", {f"{MAIN}.container.logMaxSize": "10MB"}, "logMaxSize", "10m", id="log-size"),
    pytest.param("paper", {f"{MAIN}.container.logMaxFiles": 0}, "logMaxFiles", "greater than", id="log-files"),
    pytest.param("paper", {f"{MAIN}.debug.enabled": "on"}, "debug.enabled", "true or false", id="debug"),
    pytest.param("paper", {f"{MAIN}.vnc.enabled": False}, f"{MAIN}.vnc", "`ibgw screen --open`", id="vnc"),
    pytest.param("paper", {f"{MAIN}.checks.marketData.level": "must"}, "marketData.level", "'required'", id="level"),
    pytest.param(
        "paper", {f"{MAIN}.checks.marketData.contract.currency": "$"}, "currency", "three letters", id="currency"
    ),
    pytest.param(
        "paper", {f"{MAIN}.clients": [{"container": "bot", "label": "b=c"}]}, "clients.0", "exactly one", id="cl"
    ),
    pytest.param("paper", {f"{MAIN}.clients": [{"label": "b"}]}, "clients.0.label", "KEY=VALUE", id="client-label"),
    *(
        pytest.param(
            "paper", {f"{MAIN}.clients": [{"label": label}]}, "clients.0.label", "ibgw gives to its own", id=label
        )
        for label in ("ibgw.role=verifier", "ibgw.stack=paper", "ibgw.anything-to-come=1")
    ),
    pytest.param("paper", {"ibgw:mode": "live"}, "ibgw:mode", "ibgw init --stack live", id="live-on-paper"),
]

GATEWAY_IMAGE = "ghcr.io/gnzsnz/ib-gateway"
CONTRACT = f"{MAIN}.checks.marketData.contract"
# The key, what is refused there, and a piece of the remedy: grammars and bounds of Docker, AWS, IANA and the API.
REFUSED: list[tuple[str, list[Any], str]] = [
    (
        "ibgw:image",
        [
            *("a/b:1.2.3:4", "a//b:1.2.3", "Gnzsnz/ib-gateway:1.2.3", "a/B:1.2.3", "a_.b/c:1.2.3", "a/b:1.2.3 "),
            *("http://a/b:1.2.3", "a/b:-1.2.3", f"a/b:1.2.3{'x' * 128}"),
        ],
        "not an image reference",
    ),
    ("ibgw:image", [f"{'a' * 200}/{'b' * 60}:1.2.3"], "Docker takes 255"),
    ("ibgw:image", ["localhost:99999/a/b:1.2.3", "a:0/b:1.2.3"], "port"),
    (
        "ibgw:image",
        ["a/b@", f"a/b@sha256:{'A' * 64}", f"a/b@sha512:{'a' * 64}", f"a/b:1.2.3@sha256:{'a' * 63}"],
        "not a digest",
    ),
    (
        "ibgw:image",
        [
            f"{GATEWAY_IMAGE}:{tag}"
            for tag in ("main", "master", "dev", "LATEST", "Stable", "lts", "prod", "10", "v10.45", "10.45.x", "decade")
        ],
        "moves",
    ),
    (
        "ibgw:verifier.baseImage",
        ["python:main", "python:LATEST", "python:slim", "python:3", "python:3.11-slim-bookworm", "debian:12"],
        "name one such as 3.11.16-slim-bookworm",
    ),
    ("ibgw:verifier.baseImage", ["python:3.11:1", "Python:3.11", "python:3 11"], "not an image reference"),
    (
        "ibgw:network.subnetPool",
        ["127.0.0.0/16", "0.0.0.0/16", "169.254.0.0/16", "240.0.0.0/16", "224.0.0.0/16", "255.255.0.0/20"],
        "no container can have an address",
    ),
    ("ibgw:network.subnetPool", ["100.64.0.0/16", "11.0.0.0/16", "172.32.0.0/16"], "not a private range"),
    (f"{MAIN}.apiSubnet", ["127.0.0.0/28", "169.254.169.240/28", "0.0.0.0/28"], "no container can have an address"),
    (f"{MAIN}.container.logMaxSize", [f"{'9' * 40}m", "9223372036854775808k", "9223372037g"], "64 bits"),
    (f"{MAIN}.container.logMaxSize", ["0m", "10", "1.5g", "-1m", "10M", "\u0967m"], "a whole number with k, m or g"),
    (f"{MAIN}.api.masterClientId", [2**31, 2**62, 2**63, 10**30], ""),
    (f"{MAIN}.api.masterClientId", [900, 950, 999], "the verifier's own"),
    (f"{CONTRACT}.secType", ["STOCK", "stk", "EQUITY", "BAG", ""], "'STK'"),
    (f"{CONTRACT}.symbol", ["", " SPY", "SPY ", "ÄÖ", "X" * 65], ""),
    (f"{CONTRACT}.exchange", ["", "SM ART", "SMART;"], "such as SMART"),
    (f"{CONTRACT}.expiry", ["20260231", "20261300", "20\uff12601", "2026"], ""),
    (f"{MAIN}.secondFactor", [{"method": "push", "device": " "}], "device"),
    (f"{CONTRACT}.currency", ["US", "USDX", "$$$"], "such as USD"),
    (f"{CONTRACT}.currency", ["usd"], "did you mean USD?"),
    (f"{MAIN}.session.timeZone", ["EST"], "did you mean 'America/New_York'?"),
    (f"{MAIN}.session.timeZone", ["MST"], "did you mean 'America/Denver'?"),
    (f"{MAIN}.session.timeZone", ["america/new_york", "New_York"], "did you mean 'America/New_York'?"),
    (f"{MAIN}.session.timeZone", ["HST", "Factory", "Etc/GMT+5", "Etc/GMT-14"], "name the place"),
    (f"{MAIN}.session.timeZone", ["localtime", "posixrules", "../UTC", ""], "not an IANA time zone"),
    ("ibgw:tradingHours.timeZone", ["EST", "Factory", "Etc/GMT+5"], "name the place"),
    ("ibgw:dockerHost", ["ssh://u@h:0", "ssh://u@h:65536", "ssh://u@h:99999"], "not from 1 to 65535"),
    ("ibgw:dockerHost", ["ssh://u@1.2.3.999", "ssh://u@[1:2]", "ssh://u@[::1.2.3]"], "not an IP address"),
    (
        "ibgw:dockerHost",
        [
            *("ssh://-oProxyCommand=x@h", "ssh://u@-h", "ssh://u@h/path", "ssh://u@h o", "npipe://a"),
            *("unix://relative", ""),
        ],
        "ssh://user@host",
    ),
    ("ibgw:dockerHost", [f"unix:///{'a' * 107}"], "107 bytes"),
    (
        f"{MAIN}.credentials.secretId",
        [
            "a b",
            "",
            "a" * 513,
            "arn:aws:s3:::bucket",
            "arn:aws:secretsmanager:us-east-1:1:secret:x",
            "ä",
            "a:b",
            '{"a": 1}',
        ],
        "name or ARN",
    ),
    (f"{MAIN}.clients", [[{"container": "a"}], [{"container": "-ab"}]], "a container's name"),
    ("ibgw:verifier.timeout", [f"{'9' * 40}m", f"{'9' * 400}h", f"1m{'9' * 20}s"], "longer than a year"),
    ("ibgw:verifier.timeout", ["\uff11\uff10m", "\u0661m"], "not a duration"),
    (f"{MAIN}.session.autoRestart", ["2\u0663:00", "\uff11\uff12:00"], "HH:MM"),
]


@pytest.mark.parametrize(
    ("key", "value", "remedy"), [(key, value, remedy) for key, values, remedy in REFUSED for value in values]
)
def test_what_would_be_refused_later_is_refused_by_name(key: str, value: Any, remedy: str) -> None:
    with pytest.raises(IbgwError) as refused:
        load("paper", changed("paper", {key: value}))
    assert f"- {key}" in str(refused.value)
    assert remedy in str(refused.value)


TAKEN: list[tuple[str, list[Any]]] = [
    (
        "ibgw:image",
        [
            *(
                f"{GATEWAY_IMAGE}:{tag}"
                for tag in ("10.45.1j", "v10.45.1j", "10.45.1j-arm64", "20260101", "sha-0123abc")
            ),
            *("localhost:5000/a:1.2.3", "my-host:5000/a/b_c/d__e/f--g:1.2.3", f"127.0.0.1:5000/a@sha256:{'a' * 64}"),
            f"{GATEWAY_IMAGE}:10.45@sha256:{'a' * 64}",
        ],
    ),
    ("ibgw:verifier.baseImage", ["python:3.11.16", "debian:bookworm-20261117", f"python@sha256:{'a' * 64}"]),
    ("ibgw:network.subnetPool", ["10.0.0.0/16", "172.16.0.0/20", "192.168.0.0/23", "198.18.0.0/16"]),
    (f"{MAIN}.container.logMaxSize", ["1k", "10m", "9223372036g"]),
    (f"{MAIN}.api.masterClientId", [0, 899, 1000, 2**31 - 1]),
    (f"{CONTRACT}.secType", ["STK", "CFD", "CRYPTO", "BOND"]),
    (f"{CONTRACT}.symbol", ["BRK B", "ES", "1810", "N225"]),
    (f"{CONTRACT}.exchange", ["IBIS2", "OSE.JPN", "IDEALPRO"]),
    ("ibgw:tradingHours.timeZone", ["Asia/Tokyo", "Asia/Kolkata", "UTC", "Etc/UTC", "US/Eastern", "America/Phoenix"]),
    ("ibgw:dockerHost", ["ssh://me@host", "ssh://me@my_alias:2222", "ssh://m.e@[2001:db8::1]:22", "ssh://me@10.0.0.1"]),
    (
        f"{MAIN}.credentials.secretId",
        [
            "a",
            "arn:aws:secretsmanager:us-east-1:123456789012:secret:ibgw/paper/main-AbCdEf",
            "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:main",
        ],
    ),
]


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in TAKEN for value in values])
def test_what_works_is_taken(key: str, value: Any) -> None:
    load("paper", changed("paper", {key: value}))


@pytest.mark.parametrize(
    "address",
    [
        *("ssh://user:hunter2@host", "ssh://user:hun@ter2@host", "ssh://user:hunter2", "tcp://user:hunter2@host:2375"),
        *("user:hunter2@host", "ssh:/user:hunter2@host", "ssh://user:hunter2@host:99999", "ssh://:hunter2@host"),
    ],
)
def test_the_password_in_a_docker_hosts_address_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(IbgwError, match="ibgw:dockerHost") as refused:
        load("paper", changed("paper", {"ibgw:dockerHost": address}))
    assert leaks(str(refused.value), "ter2") == []


STRINGS = (
    *("ibgw:image", "ibgw:verifier.baseImage", "ibgw:dockerHost", "ibgw:namePrefix", "ibgw:mode"),
    *(f"{MAIN}.credentials.secretId", f"{MAIN}.secondFactor.device", f"{CONTRACT}.symbol", f"{MAIN}.session.timeZone"),
    f"{MAIN}.clients",
)


@pytest.mark.parametrize("key", STRINGS)
@pytest.mark.parametrize(
    ("character", "name"),
    [
        *(("\x1b", "U+001B"), ("\n", "U+000A"), ("\x00", "U+0000"), ("\x85", "U+0085"), ("\u202e", "RIGHT-TO-LEFT")),
        *(
            ("\u200b", "ZERO WIDTH SPACE"),
            ("\u00a0", "NO-BREAK SPACE"),
            ("\u3164", "HANGUL FILLER"),
            ("\u2028", "LINE"),
        ),
        *(("\ufeff", "U+FEFF"), ("\ufe0f", "VARIATION"), ("\U000e0041", "TAG"), ("\ud800", "U+D800")),
    ],
)
def test_a_character_that_nobody_sees_is_refused_in_every_text(key: str, character: str, name: str) -> None:
    text = f"a{character}b"
    with pytest.raises(IbgwError) as refused:
        load("paper", changed("paper", {key: [{"label": text}] if key.endswith("clients") else text}))
    assert f"- {key}" in str(refused.value)
    assert name in str(refused.value)
    assert character not in str(refused.value).replace("\n", "", 1)


@pytest.mark.parametrize("key", ["ibgw:a\x1b[2Jb", f"{MAIN}.a\u202eb", "ibgw:gateways.m\u200bain"])
def test_a_key_with_such_a_character_is_not_shown_as_it_is(key: str) -> None:
    with pytest.raises(IbgwError, match="a character that nobody sees") as refused:
        load("paper", changed("paper", {key: "x"}))
    assert not {"\x1b", "\u202e", "\u200b"} & set(str(refused.value))


@pytest.mark.parametrize(
    ("key", "text", "found"),
    [
        ("ibgw:gateways", "[" * 100_000, "nested too deeply"),
        ("ibgw:gateways", '{"main":' + "[" * 50 + "]" * 50 + "}", "nested too deeply"),
        ("ibgw:network", '{"subnetPool":' * 900 + "1" + "}" * 900, "nested too deeply"),
        (
            "ibgw:gateways",
            '{"main": {"resources": {"memory": ' + "9" * 5000 + "}}}",
            "a number with thousands of digits",
        ),
        ("ibgw:gateways", '{"main": {"resources": {"memory": -' + "9" * 4000 + "}}}", "64 bits"),
        ("ibgw:gateways", '{"main": {"resources": {"memory": 1e999}}}', "a whole number"),
        ("ibgw:mode", "9" * 5000, "has 5000 characters"),
        ("ibgw:namePrefix", '"' * 3000, "has 3000 characters"),
    ],
)
def test_what_no_setting_can_be_is_refused_in_few_words(key: str, text: str, found: str) -> None:
    with pytest.raises(IbgwError) as refused:
        load("paper", as_engine(tracked("paper")) | {key: text})
    assert found in str(refused.value)
    assert key in str(refused.value)
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize(("stack", "changes", "key", "remedy"), BAD)
def test_bad_configuration_is_refused_by_name(stack: str, changes: dict[str, Any], key: str, remedy: str) -> None:
    with pytest.raises(IbgwError) as refused:
        load(stack, changed(stack, changes))
    assert refused.value.exit_code is ExitCode.REFUSED
    message = str(refused.value)
    assert key in message
    assert remedy in message


@pytest.mark.parametrize(
    ("stack", "remedy"),
    [("live", "begins with its mode"), ("test", "paper-NAME"), ("Paper", "paper-NAME"), ("paper_2", "paper-NAME")],
)
def test_the_stack_name_must_fit_the_mode(stack: str, remedy: str) -> None:
    with pytest.raises(IbgwError, match=remedy):
        load(stack, as_engine(tracked("paper")))


def test_a_host_name_longer_than_dns_allows_is_refused() -> None:
    with pytest.raises(IbgwError, match="at most 63"):
        load("paper-" + "x" * 40, changed("paper", {"ibgw:namePrefix": "a" * 25}))


def test_all_faults_are_listed_at_once() -> None:
    with pytest.raises(IbgwError) as refused:
        load("paper", changed("paper", {"ibgw:platform": "x", f"{MAIN}.api.readOnly": 1, "ibgw:mood": "y"}))
    assert str(refused.value).count("\n  - ") == 3


def test_an_object_that_is_not_json_names_its_key() -> None:
    with pytest.raises(IbgwError, match="ibgw:gateways: not readable"):
        load("paper", as_engine(tracked("paper")) | {"ibgw:gateways": "{"})


@pytest.mark.parametrize("stack", ["paper", "live"])
def test_the_tracked_stack_file_is_complete_and_says_what_the_defaults_are(stack: str) -> None:
    """Every key with a default is written out with that default, but for what is chosen for the stack."""
    loaded = load(stack, as_engine(tracked(stack)))
    session = {"autoRestart": "23:59", "coldRestart": "07:05"}
    bare = {
        "ibgw:mode": stack,
        "ibgw:dockerHost": "unix:///var/run/docker.sock",
        "ibgw:gateways": {"main": {"credentials": {"secretId": f"ibgw/{stack}/main"}, "session": session}},
    }
    if stack == "paper":
        bare["ibgw:image"] = "ghcr.io/gnzsnz/ib-gateway:10.45.1j"
    else:
        bare["ibgw:network"] = {"subnetPool": "10.213.16.0/20"}  # paper and live may share a host
        bare["ibgw:gateways"]["main"]["secondFactor"] = {"method": "push"}  # type: ignore[index]
        bare["ibgw:gateways"]["main"]["account"] = {"expected": ["U0000000"]}  # type: ignore[index]
    least = load(stack, as_engine(bare))
    assert loaded.order_level("main") == least.order_level("main")
    chosen = {"checks": loaded.gateways["main"].checks}
    assert loaded.model_copy(update={"gateways": {}}) == least.model_copy(update={"gateways": {}})
    assert loaded.gateways["main"] == least.gateways["main"].model_copy(update=chosen)


def test_the_engine_checks_no_key_itself() -> None:
    """Of one that is declared in Pulumi.yaml it says only that it is missing, before we can say what was meant."""
    assert "config" not in yaml.safe_load((ROOT / "Pulumi.yaml").read_text())


@pytest.mark.parametrize("stack", ["paper", "live"])
def test_every_setting_of_a_gateway_stands_in_the_tracked_file(stack: str) -> None:
    """A reader of the stack file sees all there is to set, but for the optional keys that have no default."""
    optional = {"apiSubnet", "versionId", "masterClientId", "device", "autoLogoff", "image", "release", "heartbeat"}
    optional |= {"gatewayDefaults", "gatewaysFile", "pushgateway", "secretId", "anyClock", "acceptUntested"}

    def keys(model: Any) -> set[str]:
        found: set[str] = set()
        for field in model.model_fields.values():
            found.add(field.alias)
            if hasattr(field.annotation, "model_fields"):
                found |= keys(field.annotation)
        return found

    from infra.settings import Gateway

    text = (ROOT / f"Pulumi.{stack}.yaml").read_text()
    wanted = (keys(Settings) | keys(Gateway)) - optional
    assert {key for key in wanted if f"{key}:" not in text} == set()
