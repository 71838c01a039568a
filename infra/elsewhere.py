"""Settings of other programs: the key that takes each here, or why there is none and what to do instead. Pure.

The names are those of the image's scripts and templates (gnzsnz/ib-gateway-docker, 10.50.1d), of compose files and of
setup guides. `ibgw init --from` and the refusal of an unknown key answer by the same rows.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple


class Row(NamedTuple):
    """`key`: what takes it, below a gateway or of the stack; None if nothing does. `note`: why not and what instead, or
    what is different."""

    key: str | None
    note: str = ""


_NO_EFFECT = "the image does not know this variable, so it had no effect until now"
SECRET = "put it into AWS Secrets Manager (`ibgw credentials put` asks for it); user id and password are files here"  # noqa: S105
OTHER_STACK = "paper and live are two stacks here, each with a secret of its own: run `ibgw init` for the other as well"
_NO_PORT = (
    "no port is published, since whoever reaches it can trade: clients join the gateway's network, and `ibgw forward` "
    "opens a port of this machine's loopback"
)
_NETWORK = (
    "the gateway has an internal network of its own and a way out, and joins no other, where others could trade by it: "
    "have the client join the gateway's network (`ibgw env` prints its name) and name it under clients"
)
_TUNNEL = "no tunnel out of the container: ibgw:dockerHost takes ssh://, and `ibgw forward` works through it"
_SCREEN = (
    "nothing to set: `ibgw screen` shows any gateway's windows, and `ibgw screen --open` leads a VNC viewer there, "
    "without a port or a password"
)
_SCRIPTS = (
    "the container runs the image's scripts and our first process, nothing else, since a script there could read the "
    "password: do it from a client's container, or build an image of your own and name it in ibgw:image"
)
_FILES = (
    "config.ini and jts.ini are made from these settings at each start; what has no key here keeps the image's value"
)
_OWN = "compose's own; `ibgw` and Pulumi do what it is for"
_CONFINED = "the container is as confined as the image allows, and the same for all (docs/architecture.md)"
_DESKTOP = "of the remote desktop's image, which is another program"

_ROWS: Mapping[str, Row] = {
    # What the image reads. Several names with one answer share a line.
    "TRADING_MODE": Row("mode"),
    "TWS_ACCEPT_INCOMING": Row("api.acceptIncoming", "reject will do: clients come through the image's relay"),
    "TWS_MASTER_CLIENT_ID": Row("api.masterClientId"),
    "READ_ONLY_API": Row("api.readOnly"),
    "ALLOW_BLIND_TRADING": Row("api.allowBlindTrading"),
    "BYPASS_WARNING": Row("api.bypassWarnings"),
    "EXISTING_SESSION_DETECTED_ACTION": Row("session.existingSession"),
    "TIME_ZONE": Row("session.timeZone"),
    "TZ": Row("session.timeZone", "one zone for both: with two, the restart would come at the wrong hour"),
    "AUTO_RESTART_TIME": Row("session.autoRestart"),
    "AUTO_LOGOFF_TIME": Row("session.autoLogoff"),
    "TWS_COLD_RESTART": Row("session.coldRestart"),
    "SAVE_TWS_SETTINGS": Row("session.saveSettings"),
    "TWOFA_DEVICE": Row("secondFactor.device"),
    "TWOFA_TIMEOUT_ACTION": Row("secondFactor.onTimeout"),
    "RELOGIN_AFTER_TWOFA_TIMEOUT": Row("secondFactor.relogin"),
    "TWOFA_EXIT_INTERVAL": Row("secondFactor.exitInterval"),
    "JAVA_HEAP_SIZE": Row("resources.javaHeap"),
    "TWS_USERID TWS_USERID_FILE TWS_PASSWORD TWS_PASSWORD_FILE": Row(None, SECRET),
    "TWS_USERID_PAPER TWS_PASSWORD_PAPER TWS_PASSWORD_PAPER_FILE DUAL_MODE": Row(None, OTHER_STACK),
    "TWS_SETTINGS_PATH": Row(None, "the settings lie in a volume of the gateway's own, which is kept"),
    "VNC_SERVER_PASSWORD VNC_SERVER_PASSWORD_FILE SSH_VNC_PORT": Row(None, _SCREEN),
    "VNC_PASSWORD VNC_PWD VNC_PORT DISPLAY_WIDTH DISPLAY_HEIGHT": Row(None, _SCREEN),
    # A setting of ours in 0.2.
    "vnc": Row(None, f"{_SCREEN}; remove this key, which costs no login unless it was enabled"),
    "SSH_TUNNEL SSH_OPTIONS SSH_ALIVE_INTERVAL SSH_ALIVE_COUNT SSH_PASSPHRASE SSH_PASSPHRASE_FILE": Row(None, _TUNNEL),
    "SSH_REMOTE_PORT SSH_USER_TUNNEL SSH_RESTART .ssh": Row(None, _TUNNEL),
    "CUSTOM_CONFIG config.ini": Row(None, _FILES),
    "START_SCRIPTS X_SCRIPTS IBC_SCRIPTS init-scripts": Row(None, _SCRIPTS),
    "PUID PGID PASSWD PASSWD_FILE SSH_RDP_PORT": Row(None, _DESKTOP),
    "IBC_INI IBC_INI_TMPL IBC_PATH IBC_COMMAND SCRIPT_PATH TWS_PATH TWS_INI TWS_INI_TMPL DISPLAY API_PORT SOCAT_PORT": (
        Row(None, "fixed: the image is used as it is")
    ),
    "TWS_MAJOR_VRSN TWS_VERSION IB_GATEWAY_VERSION IB_GATEWAY_CHANNEL IBC_VERSION": Row(
        None, "the tag of ibgw:image says the version"
    ),
    "jts.ini TWS_SERVER TWS_SERVER_PAPER": Row(
        None,
        "jts.ini is made at the first start and then the gateway's own; where IBKR keeps your account on a regional "
        "server and the login does not find it, name it there once (docs/accounts.md, 'A regional server')",
    ),
    # What guides and other images call it.
    "GATEWAY_OR_TWS": Row(None, "the gateway, always"),
    "MINIMIZE_MAIN_WINDOW TWS_TIMING_OF_RUN": Row(None, _NO_EFFECT),
    "IB_TRADING_MODE": Row("mode"),
    "IB_READ_ONLY_API": Row("api.readOnly", _NO_EFFECT),
    "IB_MASTER_CLIENT_ID": Row("api.masterClientId", _NO_EFFECT),
    "TWS_LOGOFF_TIME": Row("session.offline.from", _NO_EFFECT),
    "TWS_RESTART_TIME": Row("session.offline.until", _NO_EFFECT),
    "TWS_TIMEZONE TWS_OVERRIDE_TIME_ZONE": Row("session.timeZone", _NO_EFFECT),
    "TWS_DEBUG LOG_LEVEL": Row("debug.enabled", _NO_EFFECT),
    "IB_USERNAME IB_USER IB_USERID IB_PASSWORD IB_PASS IBKR_USERNAME IBKR_PASSWORD": Row(None, SECRET),
    # Another image's, which hands what begins with IBC_ to IBC's config.ini.
    "IBKRUSER IBKRPASS IBC_IbLoginId IBC_IbPassword": Row(None, SECRET),
    "IBC_TradingMode": Row("mode"),
    "IBC_ReadOnlyApi": Row("api.readOnly"),
    "IBC_AcceptIncomingConnectionAction": Row("api.acceptIncoming"),
    "IBC_AllowBlindTrading": Row("api.allowBlindTrading"),
    "IBC_OverrideTwsMasterClientID": Row("api.masterClientId"),
    "IBC_ExistingSessionDetectedAction": Row("session.existingSession"),
    "IBC_AutoRestartTime": Row("session.autoRestart"),
    "IBC_AutoLogoffTime": Row("session.autoLogoff"),
    "IBC_ColdRestartTime": Row("session.coldRestart"),
    "IBC_SaveTwsSettingsAt": Row("session.saveSettings"),
    "IBC_SecondFactorDevice": Row("secondFactor.device"),
    "IBC_ReloginAfterSecondFactorAuthenticationTimeout": Row("secondFactor.relogin"),
    "IBC_SecondFactorAuthenticationExitInterval": Row("secondFactor.exitInterval"),
    "XVFB_ARGS": Row(None, _SCREEN),
    "IB_2FASECRET IB_2FA_METHOD TOTP TOTPSECRET TOTP_KEY TWOFACTOR_CODE TWOFACTOR_CODE_FILE": Row(
        None, "the seed is a secret of its own: secondFactor.method is totp, and its secretId names it"
    ),
    "IB_CLIENT_ID IBKR_CLIENT_ID client_id IB_GATEWAY_PORT IB_GATEWAY_HOST IB_HOST IB_PORT IBKR_HOST IBKR_PORT": (
        Row(None, "a client's; `ibgw env` prints what a client needs")
    ),
    # A service of a compose file.
    "image": Row("image"),
    "platform": Row("platform"),
    "mem_limit deploy.resources.limits.memory": Row("resources.memory"),
    "stop_grace_period": Row("container.stopGrace"),
    "logging.options.max-size": Row("container.logMaxSize"),
    "logging.options.max-file": Row("container.logMaxFiles"),
    "labels": Row("container.labels"),
    "healthcheck.interval": Row("container.probeInterval"),
    "healthcheck": Row(None, "the API's own handshake; container.probeInterval says how often"),
    "environment": Row(None, "the container's variables are made from these settings, each with a key of its own"),
    "env_file": Row(None, "read for this, not kept"),
    "build pull_policy": Row(None, "the published image is used, pinned in ibgw:image"),
    "container_name": Row(None, "it is called PREFIX-STACK-GATEWAY, such as ibgw-paper-main; `ibgw env` prints it"),
    "ports expose publish": Row(None, _NO_PORT),
    "network networks network_mode hostname domainname extra_hosts links external_links dns dns_search dns_opt "
    "mac_address": Row(None, _NETWORK),
    "volumes volumes_from mounts": Row(
        None,
        "the settings volume is made and kept by the stack; a folder's settings are not taken along: nothing is lost "
        "but windows' places",
    ),
    "restart deploy.restart_policy": Row(None, "unless stopped, always; each start passes the start guard"),
    "secrets configs": Row(None, SECRET),
    "depends_on profiles develop extends include scale annotations": Row(None, _OWN),
    "user privileged cap_add cap_drop security_opt devices device_cgroup_rules shm_size init tty stdin_open read_only "
    "tmpfs ulimits sysctls pid pids_limit ipc userns_mode cgroup cgroup_parent group_add isolation runtime entrypoint "
    "command working_dir stop_signal cpus cpu_count cpu_percent cpu_shares cpu_quota cpu_period cpuset memswap_limit "
    "mem_reservation mem_swappiness oom_kill_disable oom_score_adj storage_opt blkio_config gpus credential_spec "
    "post_start pre_stop deploy logging": Row(None, _CONFINED),
    # What people write in a stack's file.
    "TWS_USERNAME user_id username password login": Row(None, SECRET),
    "port": Row(None, _NO_PORT),
    "account_id accounts TWS_ACCOUNT IB_ACCOUNT IBKR_ACCOUNT": Row("account.expected"),
    "secret secret_name secret_arn": Row("credentials.secretId"),
    "ssh_tunnel": Row(None, _TUNNEL),
    "memory": Row("resources.memory"),
    "region": Row(None, "the provider's own key: aws:region"),
}  # fmt: skip


def _plain(name: str) -> str:
    """`TWS_USERID`, `twsUserid` and `tws-userid` are one name."""
    return re.sub(r"[^a-z0-9.]", "", name.lower())


_BY_NAME = {_plain(name): row for names, row in _ROWS.items() for name in names.split()}
NAMES = tuple(name for names in _ROWS for name in names.split())


def row(name: str) -> Row | None:
    """The answer to a setting; below a key of a compose file (`healthcheck.test`), that of the key."""
    plain = _plain(name)
    while plain:
        if found := _BY_NAME.get(plain):
            return found
        plain = plain.rpartition(".")[0]
    return None
