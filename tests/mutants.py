"""Breaks the program on purpose, one property at a time, and expects a named test to notice (`make mutants`).

Each mutation is one replacement in one file of a copy of the tree. A mutation whose text is gone, or that no test
notices, fails the run: the table and the program are kept in step that way. Those that need an engine share a copy and
a sandbox of their own.
"""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import typer

from sandbox.environment import ROOT, sweep
from sandbox.locks import locked
from tests.engine.conftest import SANDBOX_VARIABLE, SANDBOXES

# A fixed place: the toolchain's cache has a folder for each tree that it was used from.
COPIES = ROOT / ".ibgw" / "mutants"
SANDBOX = "ibgw-mutants"
INTERRUPTED = threading.Event()
PROGRAM = "tests/stack/test_program.py"
SETTINGS = "tests/unit/test_settings.py"
CHECKS = "tests/unit/test_healthcheck_checks.py"
HOSTILE = "tests/unit/test_healthcheck_hostile.py"
LAST_WORD = "tests/unit/test_healthcheck_last_word.py"
TEXT = "tests/unit/test_healthcheck_text.py"
ISOLATION = "tests/unit/test_healthcheck_isolation.py"
RUNNER = "tests/unit/test_healthcheck_runner.py"
VANTAGE = "tests/unit/test_healthcheck_reachability.py"
OPTIONS = "tests/unit/test_healthcheck_runner_options.py"
ROLLOUT = "tests/unit/test_operations_rollout.py"
SUPERVISOR = "infra/supervisor/supervisor.sh"
SUPERVISED = "tests/unit/test_supervisor.py"
DRIFT = "tests/unit/test_operations_drift.py"
DECLARED = "tests/stack/test_declared.py::test_all_registrations_are_those_written_down"
WORKFLOWS = "tests/unit/test_workflows.py"
WRITE_FILTER = "tests/unit/test_healthcheck_write_filter.py"
POOL = "tests/unit/test_client_pool.py"
CODES = "tests/unit/test_second_factor.py"
SCREEN = "tests/unit/test_screen_look.py"
VIEWER = "tests/unit/test_screen_viewer.py"
LOOK = "async def look(context: Context) -> Observation:\n"


@dataclass(frozen=True)
class Mutation:
    """`old` must occur exactly once in `path`; `killer` is the pytest node that must fail afterwards."""

    name: str
    path: str
    old: str
    new: str
    killer: str

    @property
    def engine(self) -> bool:
        return self.killer.startswith("tests/engine/")


MUTATIONS = (
    Mutation(
        "codes are typed with a window in front",
        "healthcheck/second_factor/dialog.py",
        "return found[0] if windows[-1] == found[0] else Phase.WINDOW_IN_FRONT",
        "return found[0]",
        f"{CODES}::test_what_is_in_the_way_ends_the_typing",
    ),
    Mutation(
        "a code is submitted twice",
        "healthcheck/second_factor/helper.py",
        "if step <= self._told.step or life < LIFE + TYPING:",
        "if life < LIFE + TYPING:",
        f"{CODES}::test_a_refused_code_is_not_repeated_within_its_half_minute",
    ),
    Mutation(
        "a code that is about to end is submitted",
        "healthcheck/second_factor/helper.py",
        "if step_now != step or life < LIFE:",
        "if step_now != step:",
        f"{CODES}::test_one_that_was_typed_too_slowly_is_taken_back",
    ),
    Mutation(
        "codes are typed while others are held back",
        "infra/supervisor/supervisor.sh",
        "if [[ $CODE == held ]] && ((CODE_HELD >= AGAIN_AT)); then",
        "if false; then",
        "tests/unit/test_supervisor_codes.py::test_two_codes_in_vain_hold_the_next_start_until_a_person_lets_it_go_on",
    ),
    Mutation(
        "codes on live without a word of the operator",
        "infra/settings.py",
        "if self.mode is Mode.LIVE and seed is not None and Untested.TOTP not in self.accept_untested:",
        "if False:",
        f"{SETTINGS}::test_bad_configuration_is_refused_by_name",
    ),
    Mutation(
        "a planned restart wakes somebody",
        "monitoring/alerts.py",
        "unless on (stack, gateway) ibgw_gateway_window",
        "unless on (stack, gateway) ibgw_gateway_no_window",
        "tests/unit/test_monitoring_rules.py::test_it_stays_silent[IBGatewayDown]",
    ),
    Mutation(
        "a gateway that was away stays down for the prober",
        "healthcheck/monitoring/prober.py",
        "if all(_passed(self._checks, name) for name in ON_CONNECTING):",
        "if self._checks:",
        "tests/unit/test_monitoring.py::test_a_gateway_that_was_away_is_seen_when_it_is_back",
    ),
    Mutation(
        "a gateway that is wedged no more stays down for the prober",
        "healthcheck/monitoring/prober.py",
        "left_over = answers and",
        "left_over = False and",
        "tests/unit/test_monitoring.py::test_a_wedged_gateway_is_waited_for_on_the_one_connection_until_its_first_process_is_answered",
    ),
    Mutation(
        "a Pushgateway keeps what a stopped watcher pushed",
        "healthcheck/monitoring/pushing.py",
        "        self._withdraw()\n",
        "",
        "tests/unit/test_monitoring_pushing.py::test_the_watcher_deletes_its_group_when_it_is_stopped",
    ),
    Mutation(
        "each gateway's alert comes before the fleet's",
        "monitoring/alerts.py",
        "lasts=MINUTE / 2,",
        "lasts=MINUTE,",
        "tests/unit/test_monitoring_rules.py::test_what_silences_comes_before_what_it_silences",
    ),
    Mutation(
        "what was not observed counts as down",
        "monitoring/objective.py",
        'f"({up} >= bool 0) * on (stack) group_left () {_HOURS}"',
        'f"({up} >= bool 0 or {_HOURS})"',
        "tests/unit/test_monitoring_rules.py::test_the_objective_counts_observed_trading_hours_alone",
    ),
    Mutation(
        "live's identity needs no MFA",
        "deployment/iam.py",
        "return _document(_with_mfa(statement) for statement in statements)",
        "return _document(statements)",
        "tests/unit/test_account_identities.py::test_live_s_identity_without_mfa_may_nothing",
    ),
    Mutation(
        "a job in any environment plans live",
        "deployment/iam.py",
        'f"repo:{repository}:environment:{ENVIRONMENTS[identity]}"',
        'f"repo:{repository}"',
        "tests/unit/test_account_identities.py::test_ci_takes_a_role_on_in_its_environment_of_this_repository_only",
    ),
    Mutation(
        "whoever may use any key uses live's",
        "deployment/iam.py",
        '"Condition": {"ArnEquals": {"aws:PrincipalArn": [account.role(identity) for identity in identities]}}',
        '"Condition": {}',
        "tests/unit/test_account_identities.py::test_an_administrator_keeps_a_key_and_does_not_use_it",
    ),
    Mutation(
        "paper's identity reaches live's state",
        "deployment/iam.py",
        'stacks = f".pulumi/stacks/{_PROJECT}/{mode.value}"',
        'stacks = f".pulumi/stacks/{_PROJECT}/*"',
        "tests/unit/test_account_identities.py::test_who_may_do_what",
    ),
    Mutation(
        "a secret of another region is declared in the account's",
        "infra/account/settings.py",
        "if config.get(REGION, region) != region:",
        "if not region:",
        "tests/unit/test_account_settings.py::test_a_stack_file_that_does_not_fit_is_named",
    ),
    Mutation(
        "a role that deploys may not say who else may read a secret",
        "deployment/iam.py",
        '    "secretsmanager:GetResourcePolicy",\n',
        "",
        "tests/unit/test_credentials_roles.py::test_who_puts_checks_and_shows",
    ),
    Mutation(
        "a role that deploys cannot make a rotated version current",
        "deployment/iam.py",
        '("secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage")',
        '("secretsmanager:PutSecretValue",)',
        "tests/unit/test_credentials_roles.py::test_who_rotates",
    ),
    Mutation(
        "a dollar of a password is left to the image's envsubst",
        "infra/properties.py",
        "if unit < 128 and chr(unit).isalnum()",
        "if unit < 128 and (chr(unit).isalnum() or unit == 36)",
        "tests/stack/test_passwords.py::test_generated_credentials_come_through_byte_for_byte",
    ),
    Mutation(
        "the account's bucket, keys and secrets can be destroyed",
        "infra/account/__main__.py",
        "protect=True, retain_on_delete=True",
        "protect=False, retain_on_delete=True",
        "tests/engine/test_account.py::test_what_cannot_be_had_back_is_protected",
    ),
    Mutation(
        "a slow answer is a clock that is off",
        "operations/doctor_host.py",
        "abs(evidence.skew) > SKEW + evidence.doubt",
        "abs(evidence.skew) > SKEW",
        "tests/unit/test_operations_doctor_host.py::test_what_is_measured_is_told_with_what_to_do",
    ),
    Mutation(
        "what the host lacks is found by the next verification only",
        "infra/host.py",
        "faults += [str(lack) for lack in lacking if not lack.accepted_by(spec.accepted)]",
        "",
        "tests/stack/test_host_lacks.py::test_what_the_host_lacks_declares_nothing",
    ),
    Mutation(
        "a limit is given up that the host can keep",
        "deployment/abilities.py",
        "if ability in missing and ability in configured",
        "if ability in configured",
        "tests/stack/test_host_lacks.py::test_what_is_accepted_is_declared_as_docker_will_have_it",
    ),
    Mutation(
        "a limit that the host dropped is answered with a login",
        "healthcheck/hygiene.py",
        "facts.judged({*facts.accepted, *unable})",
        "facts.judged(facts.accepted)",
        "tests/unit/test_healthcheck_hygiene.py"
        "::test_a_limit_that_the_host_dropped_is_the_hosts_fault_and_no_replacement_helps",
    ),
    Mutation(
        "ssh is given a port that nobody named",
        "deployment/docker_address.py",
        'return ["-l", self.user, *(["-p", str(self.port)] if self.port else []), "--", self.host]',
        'return ["-l", self.user, "-p", str(self.port or 22), "--", self.host]',
        "tests/unit/test_healthcheck_docker_host.py::test_ssh_is_told_what_the_address_says_and_nothing_else",
    ),
    Mutation(
        "an address's password is in the message that refuses it",
        "deployment/docker_address.py",
        'if _HOLDS_NO_PASSWORD.fullmatch(url) else "the address, which is not shown,"',
        'if url else ""',
        "tests/unit/test_docker_address.py::test_a_password_is_refused_and_never_repeated",
    ),
    Mutation(
        "what ssh said is a command to the terminal",
        "healthcheck/ssh_failures.py",
        "clean(line).strip()",
        "line.strip()",
        "tests/unit/test_ssh_failures.py::test_what_was_said_is_shown_as_text",
    ),
    Mutation(
        "the api network is not internal",
        "infra/spec.py",
        "labelled(Role.API, name), internal=True)",
        "labelled(Role.API, name), internal=False)",
        DECLARED,
    ),
    Mutation(
        "gateways reach each other over egress",
        "deployment/tables.py",
        '{ICC: "false"} if part.separates',
        '{ICC: "true"} if part.separates',
        DECLARED,
    ),
    Mutation(
        "the password is not a secret",
        "infra/credentials.py",
        "password=pulumi.Output.secret(escape(password))",
        "password=pulumi.Output.from_input(escape(password))",
        f"{PROGRAM}::test_each_credential_is_wrapped_where_it_is_read",
    ),
    Mutation(
        "the user id is not a secret",
        "infra/credentials.py",
        "user_id=pulumi.Output.secret(escape(user_id))",
        "user_id=pulumi.Output.from_input(escape(user_id))",
        f"{PROGRAM}::test_each_credential_is_wrapped_where_it_is_read",
    ),
    Mutation(
        "credentials are not escaped",
        "infra/properties.py",
        'if unit < 128 and chr(unit).isalnum() else f"\\\\u{unit:04X}"',
        'if unit < 128 else f"\\\\u{unit:04X}"',
        "tests/unit/test_secret_document.py::test_escaping_leaves_nothing_that_a_shell_or_envsubst_reads",
    ),
    Mutation(
        "a secret of the other mode is accepted",
        "infra/secret_document.py",
        'if document["trading_mode"] != mode.value:',
        'if document["trading_mode"] not in tuple(Mode):',
        "tests/unit/test_secret_document.py::test_a_bad_secret_is_refused_without_showing_it",
    ),
    Mutation(
        "two gateways may have one user",
        "infra/credentials.py",
        "        if other != gateway:",
        "        if other is None:",
        f"{PROGRAM}::test_two_gateways_with_one_user_declare_nothing",
    ),
    Mutation(
        "the gateway keeps its capabilities",
        "deployment/tables.py",
        'lambda _: ["ALL"],',
        "lambda _: None,",
        DECLARED,
    ),
    Mutation(
        "the gateway may gain privileges",
        "deployment/tables.py",
        "lambda _: [NO_NEW_PRIVILEGES],",
        "lambda _: None,",
        DECLARED,
    ),
    Mutation(
        "the owner step gets another capability",
        "infra/spec.py",
        'capabilities=("CHOWN",)',
        'capabilities=("CHOWN", "FOWNER")',
        DECLARED,
    ),
    Mutation(
        "the owner step has a network",
        "deployment/tables.py",
        'return None if part.networks else "none"',
        "return None",
        DECLARED,
    ),
    Mutation(
        "the gateway is killed without grace",
        "deployment/tables.py",
        '"destroyGraceSeconds", None, _grace, ',
        '"destroyGraceSeconds", None, lambda _: None, ',
        DECLARED,
    ),
    Mutation(
        "the gateway may swap",
        "deployment/tables.py",
        '"MemorySwap", _memory_with_swap,',
        '"MemorySwap", lambda _: None,',
        DECLARED,
    ),
    Mutation(
        "logs grow without limit",
        "deployment/tables.py",
        'return None if part.log is None else {"max-size"',
        'return None if part.log else {"max-size"',
        DECLARED,
    ),
    Mutation(
        "the provider waits for healthy",
        "deployment/tables.py",
        "None if _once(part) else False,",
        "None if _once(part) else True,",
        DECLARED,
    ),
    Mutation(
        "the program does not judge itself",
        "infra/__main__.py",
        "        rules.check_rules(described.stack, rules.records(described))\n",
        "",
        "tests/stack/test_rules.py::test_a_program_that_breaks_a_rule_is_refused_before_the_first_resource",
    ),
    Mutation(
        "the program judges something else than it declares",
        "infra/rules.py",
        "replace(judged, image=stack.image, ",
        'replace(judged, restart="unless-stopped", image=stack.image, ',
        "tests/stack/test_rules.py::test_a_program_that_breaks_a_rule_is_refused_before_the_first_resource",
    ),
    Mutation(
        "the policy pack only advises",
        "infra/policy/__main__.py",
        "EnforcementLevel.MANDATORY",
        "EnforcementLevel.ADVISORY",
        "tests/engine/test_policy.py::test_each_rule_stops_a_program_that_breaks_it",
    ),
    Mutation(
        "whoever names a network mode is no gateway to the policy pack",
        "infra/policy/inputs.py",
        'mode.of_inputs(inputs) != "none"',
        'mode.of_inputs(inputs) == "bridge"',
        "tests/unit/test_policy_inputs.py::test_only_what_has_no_network_is_no_gateway_whatever_its_labels_say",
    ),
    Mutation(
        "the plan takes a replacement for a change in place",
        "operations/plan/reading.py",
        '{"replace", "create-replacement", "delete-replaced"}',
        '{"create-replacement"}',
        "tests/unit/test_operations_plan.py::test_a_real_preview_gives_its_verdict_and_reasons",
    ),
    Mutation(
        "an open port counts as healthy",
        "infra/spec.py",
        "printf 'API\\\\0\\\\0\\\\0\\\\0\\\\x09v100..178' >&3 \"",
        'exit 0 "',
        "tests/unit/test_spec.py::test_the_probe_tells_an_api_from_an_open_port",
    ),
    Mutation(
        "a third attempt is allowed",
        "infra/supervisor/__init__.py",
        "MAXIMUM_ATTEMPTS = 2",
        "MAXIMUM_ATTEMPTS = 3",
        f"{SUPERVISED}::test_the_script_is_valid_and_complete",
    ),
    Mutation(
        "the guard never counts",
        SUPERVISOR,
        "\t((COUNT += 1))\n",
        "",
        f"{SUPERVISED}::test_a_rejected_version_is_tried_twice_whatever_restarts_it",
    ),
    Mutation(
        "a used-up version of the secret still logs in",
        SUPERVISOR,
        "\tif ((COUNT >= LIMIT)); then\n\t\thold attempts",
        "\tif false; then\n\t\thold attempts",
        f"{SUPERVISED}::test_a_used_up_or_unreadable_count_holds",
    ),
    Mutation(
        "an attempt that reached nobody is not taken back",
        SUPERVISOR,
        "\t\t\t((COUNT -= 1))\n",
        "",
        f"{SUPERVISED}::test_an_attempt_that_reaches_nobody_is_taken_back",
    ),
    Mutation(
        "a client that holds the guard's id hides the login",
        SUPERVISOR,
        "\ttaken | full) confirmed ;;\n",
        "",
        f"{SUPERVISED}::test_an_answer_that_the_id_is_taken_proves_a_login",
    ),
    Mutation(
        "a start with a saved session is an attempt",
        SUPERVISOR,
        "\t*\\ -Drestart=*) KIND=saved ;;\n",
        "",
        f"{SUPERVISED}::test_a_soft_restart_is_no_attempt",
    ),
    Mutation(
        "how an attempt ended is forgotten",
        SUPERVISOR,
        '\tOUTCOMES[-1]="$EPOCHSECONDS $1"\n',
        "",
        f"{SUPERVISED}::test_two_that_met_another_session_say_so",
    ),
    Mutation(
        "two containers on one volume log in both",
        SUPERVISOR,
        '\t\tflock -n "$LOCK" && LOCKED=yes || hold volume',
        "\t\tLOCKED=yes || hold volume",
        f"{SUPERVISED}::test_two_containers_on_one_volume_never_log_in_both",
    ),
    Mutation(
        "another automation than IBC is started",
        SUPERVISOR,
        "\tif [[ $AUTOMATION != ibc ]]; then",
        "\tif false; then",
        f"{SUPERVISED}::test_only_ibc_is_started",
    ),
    Mutation(
        "a pause is not looked at",
        SUPERVISOR,
        "\t[[ -s $GUARD/pause ]] && {",
        "\tfalse && {",
        f"{SUPERVISED}::test_a_pause_lies_on_the_volume_and_its_end_gives_way",
    ),
    Mutation(
        "the end of a pause puts a person's session out",
        SUPERVISOR,
        "&& set[ExistingSessionDetectedAction]=secondary",
        "&& :",
        f"{SUPERVISED}::test_a_pause_lies_on_the_volume_and_its_end_gives_way",
    ),
    Mutation(
        "offline hours are ignored",
        SUPERVISOR,
        "\tif ((OFFLINE_FROM >= 0)) && within",
        "\tif false && within",
        f"{SUPERVISED}::test_offline_hours_hold_and_end",
    ),
    Mutation(
        "a pause that begins does not log out",
        SUPERVISOR,
        '\t\tend planned "$PLAN until $PLANNED_END"\n',
        "\t\t:\n",
        f"{SUPERVISED}::test_a_pause_that_begins_is_a_logout",
    ),
    Mutation(
        "pauses do not grow",
        SUPERVISOR,
        "seconds=$((5 << (starts > 8 ? 7 : starts - 1)))",
        "seconds=5",
        f"{SUPERVISED}::test_pauses_grow_with_the_starts_that_nobody_asked_to_end",
    ),
    Mutation(
        "a gateway that ends after each login goes on for ever",
        SUPERVISOR,
        "\tif ((LOGINS >= LOGINS_AN_HOUR)); then",
        "\tif false; then",
        f"{SUPERVISED}::test_five_within_an_hour_hold_until_a_person_goes_on",
    ),
    Mutation(
        "a restart that somebody asked for leads to a pause",
        SUPERVISOR,
        "\t\tunset 'HISTORY[-1]'\n",
        "",
        f"{SUPERVISED}::test_restarts_that_somebody_asked_for_need_no_pause",
    ),
    Mutation(
        "IBC's own restart logs in again at once",
        SUPERVISOR,
        "\tif [[ $LAUNCHED == yes ]]; then",
        "\tif false; then",
        f"{SUPERVISED}::test_ibc_s_own_restart_for_a_full_login_waits_its_turn",
    ),
    Mutation(
        "a stop does not ask IBC to log out",
        SUPERVISOR,
        "&& command_ibc STOP; } ||",
        "&& false; } ||",
        f"{SUPERVISED}::test_a_stop_is_a_logout",
    ),
    Mutation(
        "a gateway that does not react outlives the grace",
        SUPERVISOR,
        "\t\t\tif ((NOW - began >= GRACE - 5)); then",
        "\t\t\tif ((NOW - began >= GRACE + 5)); then",
        f"{SUPERVISED}::test_a_gateway_that_does_not_react_is_ended_before_the_grace_is_over",
    ),
    Mutation(
        "IBC starts the gateway again while it stops",
        SUPERVISOR,
        "\tfind_process '*ibcstart.sh *' && kill -KILL \"$PID\" 2>/dev/null\n",
        "",
        f"{SUPERVISED}::test_a_stop_ends_ibc_s_own_restarts",
    ),
    Mutation(
        "lines that are read late take a login back",
        SUPERVISOR,
        "\t\t[[ $CONFIRMED == yes ]] && return\n\t\tphase login\n",
        "\t\tphase login\n",
        f"{SUPERVISED}::test_lines_that_are_read_late_do_not_take_a_login_back",
    ),
    Mutation(
        "what a process said last is not read",
        SUPERVISOR,
        "\t[[ -n $JAVA && ${1:-} != begun ]] && read_on\n",
        "",
        f"{SUPERVISED}::test_what_a_process_said_counts_although_its_end_is_seen_first",
    ),
    Mutation(
        "a signal is handed on only once",
        SUPERVISOR,
        "\t\t[[ -n $STOP ]] && kill -TERM $! && pause=0.2\n",
        "\t\t[[ -n $STOP && $pause == 0.5 ]] && kill -TERM $! && pause=0.2\n",
        f"{SUPERVISED}::test_a_signal_that_is_lost_is_handed_on_again",
    ),
    Mutation(
        "a session's token outlives its refusal",
        SUPERVISOR,
        'forget_saved_session() { rm -f "$SETTINGS"/*/autorestart; }',
        "forget_saved_session() { :; }",
        f"{SUPERVISED}::test_a_refused_token_waits_where_healing_is_off",
    ),
    Mutation(
        "the form of a restart that goes well is a refusal",
        SUPERVISOR,
        "&& FORM_SINCE=$NOW\n",
        "&& token_refused\n",
        f"{SUPERVISED}::test_a_form_that_shows_while_a_saved_session_is_taken_up_is_no_refusal",
    ),
    Mutation(
        "a click on Re-login is a refusal although the API came back",
        SUPERVISOR,
        "UNWELL=0 HEALED=no RELOGIN_SINCE=0 ;;",
        "UNWELL=0 HEALED=no ;;",
        f"{SUPERVISED}::test_a_relogin_that_ibc_clicks_is_a_refusal_only_if_the_api_stays_away",
    ),
    Mutation(
        "an old token is tried again",
        SUPERVISOR,
        '-mmin "+$STALE" -delete',
        '-mmin "+$STALE"',
        f"{SUPERVISED}::test_only_a_fresh_autorestart_file_is_used",
    ),
    Mutation(
        "a killed container leaves no word",
        SUPERVISOR,
        '\tkeep "$GUARD/stopped" killed\n',
        "",
        f"{SUPERVISED}::test_a_killed_container_leaves_word_of_it",
    ),
    Mutation(
        "IBC's command server listens to the whole api network",
        SUPERVISOR,
        "\t\t[BindAddress]=127.0.0.1\n",
        "",
        f"{SUPERVISED}::test_a_key_that_the_template_lacks_is_appended",
    ),
    Mutation(
        "a key that the template lacks is not given",
        SUPERVISOR,
        '\tfor key in "${!set[@]}"; do\n\t\tprintf',
        '\tfor key in "${!set[@]}"; do\n\t\t: printf',
        f"{SUPERVISED}::test_a_key_that_the_template_lacks_is_appended",
    ),
    Mutation(
        "relogin is rendered for a version that never worked",
        SUPERVISOR,
        "$RELOGIN == yes && -f $SUCCEEDED && $COUNT == 0",
        "$RELOGIN == yes",
        f"{SUPERVISED}::test_relogin_is_only_for_a_version_whose_last_login_succeeded",
    ),
    Mutation(
        "debugging logs the filled login form",
        SUPERVISOR,
        "set[LogStructureScope]=unknown",
        "set[LogStructureScope]=all",
        f"{SUPERVISED}::test_debugging_logs_no_window_that_holds_the_user_id",
    ),
    Mutation(
        "the gateway's own logs fill the disk",
        SUPERVISOR,
        "sum > LOG_MEBIBYTES * 1048576 && sum > bytes",
        "0",
        f"{SUPERVISED}::test_of_the_gateway_s_own_logs_the_newest_are_kept",
    ),
    Mutation(
        "a login to accounts of the wrong kind stays",
        SUPERVISOR,
        "\t\t\tif [[ $MODE == paper && $account != D* || $MODE == live && $account == D* ]]; then",
        "\t\t\tif false; then",
        f"{SUPERVISED}::test_a_login_that_shows_the_wrong_kind_of_accounts_is_ended",
    ),
    Mutation(
        "an API that stays wedged is restarted again and again",
        SUPERVISOR,
        "\tHEALED=yes\n",
        "",
        f"{SUPERVISED}::test_a_wedged_api_is_restarted_once_an_outage",
    ),
    Mutation(
        "it heals in the window of a planned restart",
        SUPERVISOR,
        " && ! near_plan && may_heal",
        " && may_heal",
        f"{SUPERVISED}::test_nothing_is_healed_around_a_planned_restart_or_where_it_is_off",
    ),
    Mutation(
        "it heals more than three times a day",
        SUPERVISOR,
        "[[ $HEAL == yes ]] && ((HEALS < HEALS_A_DAY))",
        "[[ $HEAL == yes ]]",
        f"{SUPERVISED}::test_nothing_is_healed_around_a_planned_restart_or_where_it_is_off",
    ),
    Mutation(
        "it heals while a second factor is pending",
        SUPERVISOR,
        "&& FACTOR == 0 && RELOGIN_SINCE == 0)) && !",
        "&& RELOGIN_SINCE == 0)) && !",
        f"{SUPERVISED}::test_nothing_is_healed_around_a_planned_restart_or_where_it_is_off",
    ),
    Mutation(
        "a planned restart is taken as done",
        SUPERVISOR,
        "\tEVENT=$event DUE=$EPOCHSECONDS DONE=0\n",
        "\tEVENT=$event DUE=$EPOCHSECONDS DONE=$EPOCHSECONDS\n",
        f"{SUPERVISED}::test_a_planned_restart_is_proved_by_what_happened",
    ),
    Mutation(
        "a planned restart that was missed is not told",
        "healthcheck/hygiene.py",
        "        yield Reason.PLAN_MISSED, missed\n",
        "        pass\n",
        "tests/unit/test_healthcheck_hygiene.py::test_a_planned_restart_that_did_not_come_warns",
    ),
    Mutation(
        "the status is not tried from outside",
        "healthcheck/reachability.py",
        ", STATUS_PORT, VNC_PORT)",
        ", VNC_PORT)",
        f"{VANTAGE}::test_the_ports_are_those_of_both_modes_the_status_and_vnc",
    ),
    Mutation(
        "the password goes through the environment",
        "infra/spec.py",
        '        "TRADING_MODE": mode.value,\n',
        '        "TRADING_MODE": mode.value,\n        "TWS_PASSWORD_FILE": f"{SECRETS_PATH}/tws_password",\n',
        f"{PROGRAM}::test_the_environment_is_exactly_this",
    ),
    Mutation(
        "a device's name adds settings",
        "infra/spec.py",
        "escape(gateway.second_factor.device)",
        "gateway.second_factor.device",
        "tests/unit/test_spec.py::test_a_device_s_name_adds_no_setting_and_arrives",
    ),
    Mutation(
        "the gateway forwards packets",
        "deployment/tables.py",
        "return NO_FORWARDING if part.networks else None",
        "return None",
        DECLARED,
    ),
    Mutation(
        "the image's own first process stays",
        "infra/spec.py",
        '            command=("bash", SUPERVISOR_PATH),\n',
        "",
        DECLARED,
    ),
    Mutation(
        "live may log in to any account",
        "infra/settings.py",
        "if self.mode is Mode.LIVE and not gateway.account.expected:",
        "if False:",
        f"{SETTINGS}::test_bad_configuration_is_refused_by_name",
    ),
    # Taking it to running gateways.
    Mutation(
        "a rollout asks no old gateway to log out",
        "operations/rollout.py",
        "                _log_out_old(stack, name, say)\n",
        "                pass\n",
        f"{ROLLOUT}::test_one_after_the_other_each_with_its_own_resources_and_what_all_share",
    ),
    Mutation(
        "Docker starts again what was asked to log out",
        "operations/rollout.py",
        '    docker.set_restart_policy(container, {"Name": "no"})\n',
        "",
        f"{ROLLOUT}::test_an_old_container_is_asked_and_is_not_started_again_meanwhile",
    ),
    Mutation(
        "a default wins over a gateway's own value",
        "infra/gateways.py",
        "    return reduce(_laid_over, told) if told else None",
        "    return reduce(_laid_over, reversed(told)) if told else None",
        "tests/unit/test_fleet_file.py::test_what_is_nearer_to_a_gateway_wins_mappings_are_merged_and_lists_replaced",
    ),
    Mutation(
        "there is no canary",
        "operations/batches.py",
        " or (self.canary and len(batches) == 1)",
        "",
        "tests/unit/test_batches.py::test_a_canary_then_so_many_and_alone_whom_somebody_approves",
    ),
    Mutation(
        "a batch is begun within the trading hours",
        "operations/batches.py",
        "                before()\n",
        "                pass\n",
        "tests/unit/test_batches.py::test_before_each_batch_but_the_first_it_is_asked_whether_that_is_still_allowed",
    ),
    Mutation(
        "a rollout goes on after a canary that failed",
        "operations/batches.py",
        "len(failed) > max_failures else",
        "False else",
        f"{ROLLOUT}::test_a_canary_that_fails_is_the_only_one_that_was_touched",
    ),
    Mutation(
        "a rollout goes on while an approval is pending",
        "operations/batches.py",
        "    if waiting:",
        "    if False:",
        f"{ROLLOUT}::test_nothing_is_begun_while_an_approval_is_pending",
    ),
    Mutation(
        "a rollout leaves out a gateway that is not there",
        "operations/rollout.py",
        "    elif len(new) > _at_once(new, parallel) or not all(planned in chosen for planned in new):",
        "    elif len(new) > _at_once(new, parallel):",
        f"{ROLLOUT}::test_one_that_is_not_there_comes_first",
    ),
    Mutation(
        "a renamed gateway logs in beside its old self",
        "infra/host.py",
        "and existing.name != gateway.container.name",
        "and not _ours(spec, existing.labels)",
        f"{PROGRAM}::test_a_renamed_gateway_does_not_log_in_beside_its_old_self",
    ),
    Mutation(
        "a network that exists moves to its first free place",
        "infra/addresses.py",
        "if existing.ours and existing.subnet.subnet_of(pool)",
        "if False",
        f"{PROGRAM}::test_the_stack_s_own_networks_keep_their_subnets_and_a_new_one_goes_round_the_others",
    ),
    Mutation(
        "a network outside a changed pool stays",
        "infra/addresses.py",
        "if existing.ours and existing.subnet.subnet_of(pool)",
        "if existing.ours",
        "tests/unit/test_addresses.py::test_networks_move_with_a_pool_that_no_longer_holds_them",
    ),
    Mutation(
        "a new network overlaps one on its way out",
        "infra/addresses.py",
        "taken = {place for existing in held for",
        "taken = {place for existing in held if not existing.ours for",
        "tests/unit/test_addresses.py::test_a_renamed_gateway_s_old_network_is_not_overlapped_in_the_same_update",
    ),
    Mutation(
        "the program does not look at the host's subnets",
        "infra/__main__.py",
        "describe(held=host.held(described, existing.objects), lacks=lacks)",
        "describe(lacks=lacks)",
        f"{PROGRAM}::test_the_stack_s_own_networks_keep_their_subnets_and_a_new_one_goes_round_the_others",
    ),
    Mutation(
        "an installed package writes into itself",
        "deployment/paths.py",
        'return project / ".ibgw"',
        'return Path(__file__).parents[1] / ".ibgw"',
        "tests/unit/test_installed.py::test_its_commands_work_on_a_project_elsewhere_and_write_there",
    ),
    Mutation(
        "a moving tag is accepted",
        "infra/values.py",
        "if not _STAYS.search(tag.lower()):",
        'if tag.lower() in ("latest", "stable"):',
        f"{SETTINGS}::test_bad_configuration_is_refused_by_name",
    ),
    Mutation(
        "a pool where no container can have an address is accepted",
        "infra/values.py",
        "        if network.overlaps(value):",
        "        if value.is_global:",
        f"{SETTINGS}::test_what_would_be_refused_later_is_refused_by_name",
    ),
    Mutation(
        "a character that nobody sees is accepted",
        "infra/settings.py",
        "elif character := values.unseen(value):",
        'elif character := "":',
        f"{SETTINGS}::test_a_character_that_nobody_sees_is_refused_in_every_text",
    ),
    Mutation(
        "the password in a Docker host's address is repeated",
        "deployment/docker_address.py",
        "repr(url) if _HOLDS_NO_PASSWORD.fullmatch(url) else",
        "repr(url) if url else",
        f"{SETTINGS}::test_the_password_in_a_docker_hosts_address_is_refused_and_not_repeated",
    ),
    Mutation(
        "a gateway is replaced before Docker has taken its container",
        "infra/resources.py",
        "        await trial.pass_trial(stack, host, there)\n",
        "",
        f"{PROGRAM}::test_nothing_of_a_gateway_is_declared_before_docker_has_taken_its_container",
    ),
    Mutation(
        "an update that changes nothing tries a container",
        "infra/trial.py",
        "not is_as_asked(CONTAINER, part, current)",
        "current",
        "tests/unit/test_trial.py::test_what_runs_as_described_is_not_tried",
    ),
    Mutation(
        "a trial is left to a daemon that restarts",
        "infra/trial.py",
        '"RestartPolicy": {"Name": "no"}',
        '"PidMode": ""',
        "tests/unit/test_trial.py::test_the_trial_has_the_arguments_of_the_gateway_and_nothing_to_log_in_with",
    ),
    Mutation(
        "a placeholder in a secret is accepted",
        "infra/secret_document.py",
        "    if _is_placeholder(value):",
        "    if not value:",
        "tests/unit/test_secret_document.py::test_a_placeholder_is_refused",
    ),
    Mutation(
        "live takes an image that was not promoted",
        "infra/settings.py",
        "if self.mode is Mode.LIVE and self.image is not None:",
        "if False:",
        f"{SETTINGS}::test_bad_configuration_is_refused_by_name",
    ),
    Mutation(
        "live is updated without a release",
        "infra/__main__.py",
        "        elif not pulumi.runtime.is_dry_run():",
        "        elif False:",
        f"{PROGRAM}::test_an_update_of_live_without_a_release_declares_nothing",
    ),
    Mutation(
        "a release that was verified on live counts",
        "infra/release.py",
        'if release.report.stack.split("-", 1)[0] != Mode.PAPER:',
        "if False:",
        "tests/unit/test_release.py::test_only_a_paper_stack_s_verification_counts",
    ),
    Mutation(
        "unknown keys are ignored",
        "infra/settings.py",
        'frozen=True, extra="forbid", strict=True',
        'frozen=True, extra="ignore", strict=True',
        f"{SETTINGS}::test_bad_configuration_is_refused_by_name",
    ),
    Mutation(
        "mode and stack may differ",
        "infra/settings.py",
        "    if mode in tuple(Mode) and mode != first:",
        "    if False:",
        f"{SETTINGS}::test_the_stack_name_must_fit_the_mode",
    ),
    Mutation(
        "what stands in the place of credentials is repeated",
        "infra/settings_errors.py",
        'hidden = "credentials" in location or kind in _WHOLE',
        "hidden = False",
        "tests/unit/test_elsewhere.py::test_what_stands_where_credentials_are_named_is_not_repeated",
    ),
    Mutation(
        "the gateway may carry labels by which compose removes it",
        "infra/settings.py",
        "    if value.startswith(COMPOSE_LABELS):",
        "    if False:",
        "tests/unit/test_elsewhere.py::test_what_was_meant_is_said",
    ),
    Mutation(
        "hours that go on past midnight end there",
        "deployment/trading.py",
        "ends = day if opens < closes else day + timedelta(days=1)",
        "ends = day",
        "tests/unit/test_live.py::test_what_takes_a_gateway_away_within_the_hours_is_named",
    ),
    Mutation(
        "a stack's file that is not YAML is repeated",
        "operations/yaml_text.py",
        """    problem = re.sub("'[^'<]{2,}'", "a text", problem)""",
        "",
        "tests/unit/test_operations_stack.py::test_a_stacks_file_that_is_not_yaml_is_told_with_its_name_and_the_reason",
    ),
    Mutation(
        "the heap may fill the container",
        "infra/settings.py",
        "if self.memory < self.java_heap + MINIMUM_HEADROOM_MIB:",
        "if self.memory < self.java_heap:",
        f"{SETTINGS}::test_bad_configuration_is_refused_by_name",
    ),
    Mutation(
        "a foreign object of our name is taken over",
        "infra/host.py",
        "if (existing.kind, existing.name) in fixed and not _ours(spec, existing.labels)",
        "if False",
        f"{PROGRAM}::test_foreign_objects_of_our_names_declare_nothing",
    ),
    Mutation(
        "a second gateway with the same secret is not seen",
        "infra/host.py",
        "existing.labels.get(Label.SECRET_ID) == gateway.secret.id",
        "False",
        f"{PROGRAM}::test_a_second_gateway_with_the_same_secret_declares_nothing",
    ),
    Mutation(
        "an order without the what-if flag may leave",
        "healthcheck/write_filter.py",
        "        if not is_what_if(fields, self.server_version):",
        "        if False:",
        "tests/unit/test_healthcheck_write_filter.py::test_a_what_if_order_passes_and_the_same_order_without_the_flag_does_not",
    ),
    Mutation(
        "an order may leave where the check is off",
        "healthcheck/write_filter.py",
        "        if not self.what_if:",
        "        if False:",
        "tests/unit/test_healthcheck_write_filter.py::test_where_what_ifs_are_off_no_order_passes",
    ),
    Mutation(
        "the session may send an order where the check is off",
        "healthcheck/checks/order_capability.py",
        " and gateway.checks.order_capability.level is not CheckLevel.OFF",
        "",
        f"{CHECKS}::test_the_session_itself_may_ask_only_where_the_check_is_on",
    ),
    Mutation(
        "a live account passes on paper",
        "healthcheck/checks/authenticated.py",
        "    if wrong:",
        "    if False:",
        f"{CHECKS}::test_each_fault_has_its_verdict_and_reason",
    ),
    Mutation(
        "reachable passes always",
        "healthcheck/checks/reachable.py",
        LOOK,
        f"{LOOK}    return Observation('always')\n",
        f"{CHECKS}::test_a_closed_port_a_mute_one_an_echo_and_an_empty_relay_are_told_apart",
    ),
    Mutation(
        "a wedged gateway gets a connection at each attempt",
        "healthcheck/attempts.py",
        "            while again and _wedged(checks)",
        "            while False and _wedged(checks)",
        "tests/unit/test_healthcheck_attempts.py"
        "::test_a_wedged_gateway_gets_one_connection_however_long_it_is_waited_for",
    ),
    Mutation(
        "a gateway that its guard holds is only restarted",
        "healthcheck/remedies.py",
        "    retry = Retry.AGAIN if guarded else observation.retry\n",
        "    retry = observation.retry\n",
        "tests/unit/test_operations_doctor.py::test_each_cause_shows_under_its_topic_and_under_no_other",
    ),
    Mutation(
        "a gateway is started before its cause is put right",
        "healthcheck/remedies.py",
        "(*own.before, *cause, *(() if brought_up else own.remedy[-1:]))",
        "(*own.before, *own.remedy[-1:], *cause)",
        "tests/unit/test_healthcheck_remedies.py::test_what_is_behind_it_comes_before_what_starts_it",
    ),
    Mutation(
        "live is deployed by the engine",
        "healthcheck/remedies.py",
        "_on_live if gateway.mode is Mode.LIVE else _on_paper",
        "_on_paper",
        "tests/unit/test_healthcheck_remedies.py::test_every_remedy_can_be_run_as_it_stands_and_in_its_order",
    ),
    Mutation(
        "a key that is denied is a secret that is denied",
        "infra/aws_errors.py",
        "(Access to KMS|perform: kms:|ciphertext refers to a)",
        "(never)",
        "tests/unit/test_credentials.py::test_what_aws_says_leads_to_what_helps",
    ),
    Mutation(
        "what AWS says is shown as boto3 raises it",
        "operations/credentials/secrets_manager.py",
        "    raise refused(secret_id, fault, todo, kind)",
        "    raise refused(secret_id, fault, said, kind)",
        "tests/unit/test_credentials_tool.py::test_what_aws_refuses_is_said_with_what_to_do",
    ),
    Mutation(
        "boto3 logs what it sends",
        "operations/credentials/secrets_manager.py",
        'logging.getLogger("botocore").setLevel(logging.WARNING)',
        'logging.getLogger("botocore").setLevel(logging.NOTSET)',
        "tests/unit/test_credentials_tool.py::test_nothing_is_logged_and_no_exception_carries_a_value",
    ),
    Mutation(
        "put adds a version while a rotation is under way",
        "operations/credentials/putting.py",
        "if known.staged(PENDING) not in (None, known.staged(CURRENT)):",
        "if False:",
        "tests/unit/test_credentials_tool.py::test_put_keeps_out_of_a_rotation",
    ),
    Mutation(
        "a version becomes current without a login",
        "operations/credentials/rotation.py",
        "        if outcome.result is Result.VERIFIED:",
        "        if outcome.result is not Result.WAITING:",
        "tests/unit/test_credentials_rotation.py::test_one_that_is_rejected_is_taken_back_and_its_attempt_shown",
    ),
    Mutation(
        "a version that failed twice is rotated to once more",
        "operations/credentials/rotation.py",
        "        if self._attempts(gateway, after) >= MAXIMUM_ATTEMPTS:",
        "        if self._attempts(gateway, after) > MAXIMUM_ATTEMPTS:",
        "tests/unit/test_credentials_rotation.py::test_a_version_that_failed_twice_is_not_tried_a_third_time",
    ),
    Mutation(
        "a login is tried before the password is changed at IBKR",
        "operations/credentials/rotation.py",
        "                self.person.changed()\n",
        "                pass\n",
        "tests/unit/test_credentials_rotation.py::test_no_login_before_the_password_is_changed",
    ),
    Mutation(
        "a gateway without a free place is not logged in",
        "healthcheck/explain.py",
        "(clients >= MOST_CLIENTS or ",
        "(",
        "tests/unit/test_healthcheck_explain.py::test_a_gateway_without_a_free_place_is_logged_in",
    ),
    Mutation(
        "a start that stands still is waited for",
        "healthcheck/explain.py",
        "and quiet > START_TAKES",
        "and False",
        "tests/unit/test_healthcheck_explain.py::test_what_has_said_nothing_for_longer_than_a_start_takes_stands_still",
    ),
    Mutation(
        "a mistyped stack is deployed",
        "operations/stack.py",
        "        if meant := nearest(self.name, others):",
        "        if meant := None:",
        "tests/unit/test_operations_stack.py::test_a_stack_that_is_not_there_names_the_one_that_was_meant",
    ),
    Mutation(
        "a report's texts are not masked",
        "healthcheck/gateway_run.py",
        "            redactor=self._redactor,",
        "            redactor=None,",
        f"{OPTIONS}::test_nothing_from_the_log_shows_credentials",
    ),
    Mutation(
        "a report's texts are not cleaned",
        "healthcheck/text.py",
        "Text = Annotated[str, AfterValidator(clean)]",
        "Text = str",
        f"{TEXT}::test_no_format_of_a_report_passes_a_command_on",
    ),
    Mutation(
        "a verifier's texts are not cleaned",
        "healthcheck/api_client.py",
        "error = ApiError(request, code, clean(message))",
        "error = ApiError(request, code, message)",
        f"{TEXT}::test_what_a_gateway_says_is_clean_when_it_arrives_and_when_it_leaves",
    ),
    Mutation(
        "a log's lines are not cleaned",
        "operations/logs.py",
        "clean(self._redactor.text(text))",
        "self._redactor.text(text)",
        "tests/unit/test_operations_logs.py::test_a_line_of_a_log_is_text_in_both_forms",
    ),
    Mutation(
        "whatever the state holds may be on an api network",
        "healthcheck/isolation.py",
        'return container.id in recorded and inspected is not None and inspected["Config"]["Entrypoint"] == [*PROBER]',
        "return container.id in recorded",
        "tests/unit/test_healthcheck_isolation.py"
        "::test_a_prober_that_leaves_with_this_update_is_no_stranger_and_another_of_the_state_s_is_one",
    ),
    Mutation(
        "what may heal is told at once by who asks beside the prober",
        "healthcheck/verifier_container.py",
        "return attempt is not None and not (self._wait and may_heal(attempt.checks, gateway))",
        "return attempt is not None",
        "tests/unit/test_healthcheck_runner.py"
        "::test_what_may_heal_is_waited_for_by_a_verifier_and_what_may_not_is_told_at_once",
    ),
    Mutation(
        "a prober of another image is asked too",
        "healthcheck/runner.py",
        'if prober is not None and (image is None or prober["Image"] != image["Id"]):',
        "if prober is not None and image is None:",
        "tests/unit/test_healthcheck_runner.py::test_a_verifier_asks_where_the_prober_cannot",
    ),
    Mutation(
        "a promotion is refused for what watches",
        "operations/promotion/expected.py",
        "if not other.watches and other.kind not in WITH_THE_IMAGE",
        "if other.kind not in WITH_THE_IMAGE",
        "tests/unit/test_releases.py::test_what_watches_may_come_and_change_with_a_release",
    ),
    Mutation(
        "a verifier takes the prober's client id",
        "healthcheck/checks/__init__.py",
        "last -= not watching",
        "last -= 0",
        "tests/unit/test_healthcheck_checks.py::test_a_healthy_gateway_passes_all_in_order",
    ),
    Mutation(
        "the prober sends what-if orders",
        "healthcheck/monitoring/prober.py",
        "ALL = OVER_API - {CheckName.ORDER_CAPABILITY}",
        "ALL = OVER_API",
        "tests/unit/test_monitoring.py::test_it_sends_no_order_not_even_a_what_if",
    ),
    Mutation(
        "an old hand-over still says that a gateway is up",
        "healthcheck/monitoring/handover.py",
        "return now - self.written <= self.patience",
        "return True",
        "tests/unit/test_monitoring.py::test_an_old_hand_over_says_nothing_of_any_gateway",
    ),
    Mutation(
        "the watcher's network leads out",
        "infra/monitoring.py",
        "internal=role is Role.MONITORING,",
        "internal=False,",
        "tests/stack/test_declared.py::test_all_registrations_are_those_written_down[watched]",
    ),
    Mutation(
        "what a library says of an address is logged",
        "healthcheck/monitoring/channels.py",
        "logging.getLogger(library).setLevel(logging.CRITICAL + 1)",
        "pass",
        "tests/unit/test_monitoring_incidents.py::test_a_failure_says_nothing_of_the_address",
    ),
    Mutation(
        "the file of channels is no secret to the engine",
        "infra/credentials.py",
        "return Channels(pulumi.Output.secret(json.dumps(document)))",
        "return Channels(pulumi.Output.from_input(json.dumps(document)))",
        "tests/stack/test_channels.py::test_the_watcher_alone_has_them_in_a_file_and_a_way_out",
    ),
    Mutation(
        "what follows from IBKR's failure is told too",
        "healthcheck/monitoring/incidents.py",
        "cause = OUTSIDE if reason in OF_OUTSIDE else name",
        "cause = name",
        "tests/unit/test_monitoring_incidents.py::test_one_cause_is_one_page_for_all_that_it_meets",
    ),
    Mutation(
        "the page takes a text for markup",
        "healthcheck/monitoring/page.py",
        "return escape(clean(text))",
        "return clean(text)",
        "tests/unit/test_monitoring_page.py::test_nothing_known_is_no_picture_of_a_well_stack",
    ),
    Mutation(
        "what nobody saw counts as it was before",
        "healthcheck/monitoring/history.py",
        "        goes_on = 0 <= seen.written - self._written <= seen.patience",
        "        goes_on = self._written > 0",
        "tests/unit/test_monitoring_history.py::test_what_nobody_saw_is_in_no_stretch",
    ),
    Mutation(
        "the history grows for ever",
        "healthcheck/monitoring/history.py",
        "            file.unlink()",
        "            pass",
        "tests/unit/test_monitoring_history.py::test_the_oldest_go_where_they_are_too_large",
    ),
    Mutation(
        "the objective counts what nobody saw",
        "operations/report/facts.py",
        "    seen, could = length(both(watched, asked)), length(both(up, asked))",
        "    seen, could = length(asked), length(both(up, asked))",
        "tests/unit/test_report.py"
        "::test_the_share_of_trading_hours_is_of_what_was_watched_through_the_change_of_summer_time",
    ),
    Mutation(
        "a silent prober's stack still beats",
        "healthcheck/monitoring/watching.py",
        "if fresh(self._file, time.time())[0] is not None:",
        "if True:",
        "tests/unit/test_monitoring_incidents.py"
        "::test_a_heartbeat_is_sent_while_all_is_watched_and_not_of_a_silent_prober",
    ),
    Mutation(
        "a probe from where a client is passes for a stranger",
        "healthcheck/isolation.py",
        "seen.everyone) if not seen.is_verifier(other)]",
        "seen.everyone)]",
        "tests/unit/test_healthcheck_isolation.py::test_a_probe_may_look_from_where_a_client_is_and_from_no_gateway",
    ),
    Mutation(
        "what looks like a probe may be in a gateway's own network namespace",
        "healthcheck/isolation.py",
        'seen.is_verifier(other) and container_id not in holders(other.inspected, "NetworkMode", seen.everyone)',
        "seen.is_verifier(other)",
        "tests/unit/test_healthcheck_isolation.py::test_a_probe_may_look_from_where_a_client_is_and_from_no_gateway",
    ),
    Mutation(
        "a field report repeats what others say of their version",
        "operations/field_report.py",
        '_VERSION.fullmatch(str(text or "").strip())',
        're.fullmatch(".*", str(text or "").strip())',
        "tests/unit/test_operations_field_report.py::test_a_version_of_an_unknown_form_is_left_out",
    ),
    Mutation(
        "a forwarding service's unit holds the password of the state's backend",
        "operations/forward_service.py",
        'if value and not (name == BACKEND and "@" in value):',
        "if value:",
        "tests/unit/test_operations_forward_service.py::test_a_backend_s_address_with_a_password_is_left_out",
    ),
    Mutation(
        "known lines are looked for among the last lines alone",
        "operations/logs.py",
        "if len(found) > tail or len(raw) < asked:",
        "if True:",
        "tests/unit/test_operations_logs.py::test_known_lines_are_chosen_before_the_log_is_cut",
    ),
    Mutation(
        "a plan in Markdown quotes nothing",
        "operations/plan/rendering.py",
        "    return clean(text) if plain else code(text)",
        "    return clean(text)",
        f"{TEXT}::test_a_plan_in_markdown_quotes_what_it_shows",
    ),
    Mutation(
        "a length without bounds is waited for",
        "healthcheck/api_client.py",
        "        elif size > LONGEST_MESSAGE:",
        "        elif False:",
        f"{HOSTILE}::test_each_hostile_server_has_its_own_verdict_beside_all_the_others",
    ),
    Mutation(
        "a flood is taken for ever",
        "healthcheck/api_client.py",
        "        elif self.received > MOST_BYTES or self._messages > MOST_MESSAGES:",
        "        elif False:",
        f"{HOSTILE}::test_each_hostile_server_has_its_own_verdict_beside_all_the_others",
    ),
    Mutation(
        "what follows the login goes to a closed connection",
        "healthcheck/session.py",
        '        """The gateway\'s clock. Its answer also proves that everything sent before it has arrived."""\n'
        "        self.still_open()\n",
        '        """The gateway\'s clock."""\n',
        "tests/unit/test_healthcheck_session.py::test_a_request_on_a_closed_connection_says_that_it_is_closed",
    ),
    Mutation(
        "an error of one gateway's ends the verification of all",
        "healthcheck/checks/__init__.py",
        "    except Exception as error:",
        "    except ZeroDivisionError as error:",
        f"{HOSTILE}::test_an_error_of_our_own_is_that_gateways_verdict_alone",
    ),
    Mutation(
        "an error is the last word at once",
        "healthcheck/session.py",
        "min(until, loop.time() + self.timeouts.settle)",
        "loop.time()",
        f"{LAST_WORD}::test_ticks_after_an_error_are_a_quote",
    ),
    Mutation(
        "an advisory is an error",
        "healthcheck/session.py",
        "reply.code not in ADVISORY:",
        "reply.code:",
        f"{LAST_WORD}::test_a_what_if_without_figures_ends_with_its_last_word",
    ),
    Mutation(
        "a what-if without figures is an answer",
        "healthcheck/session.py",
        "return bool(states) and margin(states[-1]) is not None",
        "return bool(states)",
        f"{LAST_WORD}::test_a_what_if_waits_for_its_figures",
    ),
    Mutation(
        "an account that the summary lacks is not asked by itself",
        "healthcheck/checks/account_access.py",
        "        if len(asked) == MOST_SINGLY or loop.time() > until:",
        "        if True:",
        "tests/unit/test_healthcheck_accounts.py::test_without_a_summary_each_account_is_asked",
    ),
    Mutation(
        "without figures nobody looks whether the expected accounts are there",
        "healthcheck/check_sequence.py",
        "name is CheckName.ACCOUNT_ACCESS and gateway.expected_accounts",
        "False",
        "tests/unit/test_healthcheck_accounts.py::test_an_expected_account_is_required_at_every_level",
    ),
    Mutation(
        "what says nothing new is told to earlier versions",
        "deployment/description.py",
        "if fields[name].is_required() or getattr(self, name) != fields[name].default",
        "if name in fields",
        "tests/unit/test_quote_contract.py::test_what_says_nothing_new_is_told_as_before",
    ),
    Mutation(
        "a contract named by conId is SPY as well",
        "infra/settings.py",
        "else defaults - self.model_fields_set",
        "else set()",
        "tests/unit/test_quote_contract.py::test_all_requests_name_the_contract_as_configured",
    ),
    Mutation(
        "the credentials are not looked up for masking",
        "healthcheck/gateway_run.py",
        "            return credentials_of(self._shared.docker, self.gateway)",
        "            return ()",
        f"{OPTIONS}::test_no_exception_shows_credentials",
    ),
    Mutation(
        "a run in which no check ran is a success",
        "healthcheck/verdict.py",
        "    if not any(verdict in RAN",
        "    if False and not any(verdict in RAN",
        f"{OPTIONS}::test_a_run_in_which_no_check_ran_is_no_success",
    ),
    Mutation(
        "a planned restart explains everything",
        "healthcheck/explain.py",
        "    if planned is not None and known in AWAY:",
        "    if planned is not None:",
        "tests/unit/test_healthcheck_explain.py::test_the_cause_that_hours_and_log_give",
    ),
    Mutation(
        "a guard that holds is waited for",
        "healthcheck/explain.py",
        "        data[HELD] = True\n",
        "        pass\n",
        "tests/unit/test_healthcheck_supervised.py::test_a_guard_that_holds_is_no_matter_of_time",
    ),
    Mutation(
        "the gateway's own log never wins over its automation's",
        "healthcheck/automation/launcher.py",
        "    return Reading(\n        witness.state,\n",
        "    return reading or Reading(\n        witness.state,\n",
        "tests/unit/test_healthcheck_supervised.py::test_the_program_s_own_word_wins_until_its_login",
    ),
    Mutation(
        "a refused session is a rejected password",
        "healthcheck/automation/base.py",
        "            state = LoginState.TOKEN_REFUSED\n",
        "            pass\n",
        "tests/unit/test_healthcheck_logs.py::test_a_refused_session_is_told_from_a_login",
    ),
    Mutation(
        "connected passes always",
        "healthcheck/checks/connected.py",
        LOOK,
        f"{LOOK}    return Observation('always')\n",
        f"{CHECKS}::test_a_closed_port_a_mute_one_an_echo_and_an_empty_relay_are_told_apart",
    ),
    *(
        Mutation(
            f"{check} passes always",
            f"healthcheck/checks/{check}.py",
            LOOK,
            f"{LOOK}    return Observation('always')\n",
            f"{CHECKS}::test_each_fault_has_its_verdict_and_reason",
        )
        for check in ("authenticated", "account_access", "market_data", "order_capability")
    ),
    Mutation(
        "a published port is no exposure",
        "deployment/rules.py",
        "    for port in published:",
        "    for port in ():",
        f"{ISOLATION}::test_every_way_in_is_exposure",
    ),
    Mutation(
        "silence is a pass without the control",
        "healthcheck/isolation.py",
        "    if not control:",
        "    if False:",
        f"{ISOLATION}::test_silence_proves_nothing_where_the_control_does_not_connect",
    ),
    Mutation(
        "whoever came for a moment is not looked at",
        "healthcheck/isolation.py",
        ", seen.came_to_api, seen.waiting_for_api)",
        ", seen.waiting_for_api)",
        f"{ISOLATION}::test_whoever_was_attached_for_a_moment_is_named",
    ),
    Mutation(
        "hygiene passes always",
        "healthcheck/hygiene.py",
        "    if faults:",
        "    if False:",
        "tests/unit/test_healthcheck_hygiene.py::test_each_fault_has_its_reason_and_says_what_was_found",
    ),
    Mutation(
        "a stranger on the api network is no fault",
        "healthcheck/isolation.py",
        "        for container in strangers\n",
        "        for container in strangers[:0]\n",
        f"{ISOLATION}::test_an_undeclared_container_is_named",
    ),
    Mutation(
        "nobody removes what a killed verification has left",
        "healthcheck/janitor.py",
        "    if sys.stdin.buffer.read() == DONE:",
        "    if True:",
        "tests/unit/test_healthcheck_janitor.py::test_what_a_killed_process_has_left_is_removed_and_nothing_else",
    ),
    Mutation(
        "what a stranger has labelled as ours is swept",
        "healthcheck/verifier_container.py",
        '        and container["Config"]["Entrypoint"] in (ENTRY_POINT, PROBE)\n',
        "",
        "tests/unit/test_operations_destroy.py::test_whoever_is_attached_is_named_with_what_to_do",
    ),
    Mutation(
        "a destroy begins whoever is attached",
        "operations/destroy.py",
        "            if attached:\n",
        "            if False:\n",
        "tests/unit/test_operations_destroy.py::test_whoever_is_attached_is_named_with_what_to_do",
    ),
    Mutation(
        "a label makes a verifier",
        "healthcheck/verifier_container.py",
        '        container["Image"] == image["Id"]\n',
        "        True\n",
        f"{ISOLATION}::test_a_verifier_is_known_by_what_it_is",
    ),
    Mutation(
        "whoever joins a gateway's namespace is not looked at",
        "healthcheck/neighbours.py",
        '        if gateway["Id"] in holders(container, mode, containers):',
        "        if False:",
        f"{ISOLATION}::test_whoever_has_what_is_the_gateways_own_is_named",
    ),
    Mutation(
        "a network on the gateway's bridge is somebody else's",
        "healthcheck/neighbours.py",
        '        if by := interfaces.get(BRIDGE.format(joined.get("NetworkID", "")[:12])):',
        '        if by := "":',
        f"{ISOLATION}::test_whoever_is_on_a_network_that_lies_on_the_gateways_bridge_is_named",
    ),
    Mutation(
        "a container that forwards passes for our verifier",
        "healthcheck/verifier_container.py",
        "startswith(JOINS) else NO_ROUTER)",
        'startswith(JOINS) else host.get("Sysctls") or {})',
        f"{ISOLATION}::test_a_verifier_is_known_by_what_it_is",
    ),
    Mutation(
        "an order that cannot be read is none",
        "healthcheck/api_client.py",
        "            self._inbox.unread.add(number)",
        "            pass",
        "tests/unit/test_healthcheck_exposure.py::test_what_is_not_answered_is_unknown_and_never_none",
    ),
    Mutation(
        "a description that says paper makes live act without asking",
        "operations/live.py",
        "    return deployment.mode is Mode.LIVE or is_live(deployment.stack)",
        "    return deployment.mode is Mode.LIVE",
        "tests/unit/test_live.py::test_a_live_stack_whose_description_says_paper_is_live",
    ),
    Mutation(
        "an empty name is no name",
        "operations/commands/shared.py",
        "        chosen = stack if named is None else named\n",
        "        chosen = named or stack or None\n",
        "tests/unit/test_operations_cli.py::test_what_is_no_stacks_name_is_refused_and_no_default_takes_its_place",
    ),
    Mutation(
        "a container in the gateway's place is taken for it",
        "healthcheck/isolation.py",
        "*_replaced(gateway, own - known)",
        "*_replaced(gateway, set())",
        f"{ISOLATION}::test_a_container_in_the_gateways_place_is_none_unless_the_state_has_it",
    ),
    Mutation(
        "events are taken in after a verification's end",
        "healthcheck/attachments.py",
        "            if over is not None and over.is_set():",
        "            if False:",
        "tests/unit/test_healthcheck_attachments.py::test_a_verification_does_not_wait_for_docker_to_end_its_answer",
    ),
    Mutation(
        "a gateway that hangs is not told to programs",
        "operations/batches.py",
        "for name in names if name in silent",
        "for name in names if name in told",
        "tests/unit/test_operations_lifecycle.py::test_of_one_that_hangs_programs_are_told_that_it_has_not_ended",
    ),
    Mutation(
        "events that Docker has forgotten are no loss",
        "healthcheck/attachments.py",
        "            self._lost = True",
        "            self._lost = False",
        "tests/unit/test_healthcheck_attachments.py::test_events_that_docker_may_have_forgotten_are_told",
    ),
    Mutation(
        "a control at an address that nobody tried counts",
        "healthcheck/reachability.py",
        "= target.at(api.port)",
        '= (f"{api.host}:{api.port}",)',
        f"{VANTAGE}::test_inside_the_verifier_is_asked_for_the_addresses_that_are_tried_from_outside",
    ),
    Mutation(
        "a probe that gave no answers is silence",
        "healthcheck/verifier_container.py",
        "{address: answers[address] for address in addresses}",
        "{address: answers.get(address, Answer.UNREACHABLE) for address in addresses}",
        f"{VANTAGE}::test_a_probe_that_ends_without_its_answers_has_failed",
    ),
    Mutation(
        "an origin that could not be used is not applicable",
        "healthcheck/reachability.py",
        "            return self._docker.inspect(Kind.NETWORK, network) is not None\n",
        "            return self._docker.inspect(Kind.NETWORK, network) is None\n",
        f"{VANTAGE}::test_only_a_neighbour_whose_network_is_gone_is_not_applicable",
    ),
    Mutation(
        "rejected credentials leave the gateway running",
        "healthcheck/gateway_run.py",
        "        self._container.stop()\n",
        "",
        f"{RUNNER}::test_what_cannot_heal_ends_the_wait_at_once",
    ),
    Mutation(
        "the verifier keeps its capabilities",
        "healthcheck/docker_host.py",
        '            cap_drop=["ALL"],\n',
        "",
        "tests/unit/test_healthcheck_docker_host.py::test_what_it_creates_can_do_as_little_as_possible",
    ),
    Mutation(
        "a cause that only warns takes a failure away",
        "healthcheck/verdict.py",
        "    return SEEN_THROUGH_API in check.data or ",
        "    return ",
        "tests/unit/test_healthcheck_explain.py::test_what_failed_stays_failed_though_the_cause_would_only_warn",
    ),
    Mutation(
        "a skipped required check is no failure",
        "healthcheck/verdict.py",
        " or missing or not connected:",
        " or not connected:",
        "tests/unit/test_healthcheck_verdict.py::test_a_gateways_verdict_follows_from_its_checks",
    ),
    Mutation(
        "account numbers are shown in full",
        "healthcheck/redact.py",
        'return f"{account[:letters]}***{account[-3:]}"',
        "return account",
        "tests/unit/test_healthcheck_redact.py::test_an_account_keeps_its_kind_and_three_digits",
    ),
    # Promotion.
    Mutation(
        "a release is taken under another name",
        "infra/release.py",
        "    if release.id != name:",
        "    if False:",
        "tests/unit/test_release.py::test_a_record_keeps_the_name_that_it_was_written_under",
    ),
    Mutation(
        "an unexpected warning does not stop a promotion",
        "operations/promotion/paper.py",
        "if check.verdict is CheckVerdict.WARN and check.reason not in ACCEPTED",
        "if check.verdict is CheckVerdict.FAIL",
        "tests/unit/test_promotion_paper.py::test_any_other_warning_is",
    ),
    Mutation(
        "live is acted on without its name",
        "operations/live.py",
        "    by_name(question or ",
        "    print(question or ",
        "tests/unit/test_live.py::test_without_the_stacks_name_nothing_is_done",
    ),
    Mutation(
        "any name serves for live",
        "operations/live.py",
        "    elif typed != stack:",
        "    elif False:",
        "tests/unit/test_live.py::test_another_name_in_the_option_is_none",
    ),
    Mutation(
        "what is open on live is not shown",
        "operations/live.py",
        "    tell_open(docker, deployment, gateways, say)\n    names",
        "    names",
        "tests/unit/test_live.py::test_with_the_name_it_is_done_after_what_is_open_was_told",
    ),
    Mutation(
        "a verification may ask for orders",
        "healthcheck/write_filter.py",
        "(self.exposure and number in EXPOSURE)",
        "number in EXPOSURE",
        "tests/unit/test_healthcheck_exposure.py::test_a_verification_may_not_send_what_this_may",
    ),
    Mutation(
        "orders are asked for on a read-only API",
        "healthcheck/exposure_session.py",
        "        if not gateway.read_only:\n",
        "        if True:\n",
        "tests/unit/test_healthcheck_exposure.py::test_on_a_read_only_api_orders_are_not_asked_for",
    ),
    Mutation(
        "what acts takes the stack that is selected",
        "operations/commands/shared.py",
        "        chosen = stack if named is None else named\n",
        "        chosen = (stack if named is None else named) or looked_at(None)\n",
        "tests/unit/test_operations_cli.py::test_who_acts_names_the_stack",
    ),
    Mutation(
        "a stack that is named twice is one of the two",
        "operations/commands/shared.py",
        "        if named is not None and stack not in (None, named):\n",
        "        if False:\n",
        "tests/unit/test_operations_cli.py::test_a_stack_that_is_named_twice_is_refused",
    ),
    Mutation(
        "a failure is text where JSON was asked for",
        "operations/cli.py",
        "        tell_program(arguments, error.exit_code, str(error))\n",
        "",
        "tests/unit/test_operations_cli.py::test_a_failure_is_json_too_where_json_is_asked_for",
    ),
    Mutation(
        "completion reads another stack's gateways",
        "operations/commands/shared.py",
        "    return named or (default and default.stack)\n",
        "    return default and default.stack\n",
        "tests/unit/test_completion.py::test_what_is_offered",
    ),
    Mutation(
        "gateways are stopped one after the other under --now",
        "operations/commands/stop.py",
        "parallel=sys.maxsize if now else parallel",
        "parallel=1",
        "tests/unit/test_operations_cli.py::test_stop_all_now_passes_failures_by_and_names_them",
    ),
    Mutation(
        "without the cloud nothing works",
        "operations/described.py",
        "    except StateUnreadableError as error:\n        return _by_the_host(stack, error)\n",
        "    except StateUnreadableError:\n        raise\n",
        "tests/unit/test_described.py::test_they_work_without_the_cloud_and_say_so",
    ),
    Mutation(
        "a backend that says nothing is waited for",
        "operations/described.py",
        "deployment(seconds=SECONDS)",
        "deployment(seconds=30)",
        "tests/unit/test_described.py::test_nobody_waits_for_a_backend_that_says_nothing",
    ),
    Mutation(
        "a kept description is not held against the host",
        "operations/described.py",
        '        elif labelled[name]["Id"] != gateway.container.id:\n',
        "        elif False:\n",
        "tests/unit/test_described.py::test_a_container_that_was_made_anew_is_noticed_and_is_the_one_that_is_acted_on",
    ),
    Mutation(
        "an update keeps no description",
        "infra/verification.py",
        "            keep(described, project)\n",
        "            pass\n",
        "tests/stack/test_update_verification.py::test_an_update_of_some_gateways_is_verified_by_those",
    ),
    Mutation(
        "a gateway whose next login begins after the wait is waited for",
        "healthcheck/gateway_run.py",
        "self._shared.attachments.now()) > left\n",
        "self._shared.attachments.now()) > left + 9999\n",
        "tests/unit/test_healthcheck_supervised.py::test_what_ends_after_the_wait_is_not_waited_for",
    ),
    Mutation(
        "what to do is told at the end of a wait only",
        "healthcheck/gateway_run.py",
        " If it stays so: {result.remedy}",
        "",
        f"{RUNNER}::test_a_wait_is_told_with_what_to_do_about_it_once",
    ),
    Mutation(
        "a gateway that its own probe cannot reach is logged in",
        "healthcheck/glance.py",
        'told.api == "ok":',
        "True:",
        "tests/unit/test_watch.py::test_what_a_gateway_waits_for_and_until_when",
    ),
    Mutation(
        "a gateway is not asked where its log alone says that it is held",
        "healthcheck/gateway_run.py",
        'if told is None or told.hold == "none":',
        "if False:",
        "tests/unit/test_healthcheck_supervised.py::test_a_log_alone_keeps_nobody_from_asking",
    ),
    Mutation(
        "a gateway that failed is not told to programs",
        "operations/lifecycle.py",
        "            acted.append(Acted(gateway=gateway.name, error=str(error), told=tuple(told)))\n",
        "",
        "tests/unit/test_operations_lifecycle.py::test_of_several_it_is_told_which_failed",
    ),
    Mutation(
        "a gateway that has lost IBKR is logged in",
        "healthcheck/inside.py",
        "if kind == ERROR and not NOTICES.isdisjoint(fields[2:3]):",
        "if False:",
        "tests/unit/test_healthcheck_inside.py::test_what_is_no_login_in_order_is_no_answer",
    ),
    Mutation(
        "status takes an account of the wrong kind",
        "healthcheck/inside.py",
        " or {account_kind(name) for name in accounts} != {str(gateway.account_kind)}",
        "",
        "tests/unit/test_healthcheck_inside.py::test_what_is_no_login_in_order_is_no_answer",
    ),
    Mutation(
        "who looks stops a gateway",
        "healthcheck/gateway_run.py",
        "        if not self._shared.acts:\n",
        "        if False:\n",
        "tests/unit/test_looking.py::test_looking_leaves_a_rejected_gateway_as_it_is",
    ),
    Mutation(
        "status stops a gateway",
        "operations/status.py",
        "report = look(deployment",
        "from healthcheck.runner import verify\n\n        report = verify(deployment",
        "tests/unit/test_looking.py::test_looking_leaves_a_rejected_gateway_as_it_is",
    ),
    Mutation(
        "paper may change while it is verified",
        "operations/promotion/command.py",
        "    if source.deployment() != deployment or ",
        "    if ",
        "tests/unit/test_promotion_command.py::test_paper_that_changes_meanwhile_is_not_promoted",
    ),
    Mutation(
        "live's other changes go along with a release",
        "operations/promotion/command.py",
        "    if extra:\n",
        "    if False:\n",
        "tests/unit/test_promotion_command.py::test_live_has_no_change_that_a_release_does_not_bring",
    ),
    Mutation(
        "a promotion does not mind the trading hours",
        "operations/live.py",
        "    if trading(known, now or datetime.now(UTC)):",
        "    if False:",
        "tests/unit/test_promotion_command.py::test_within_the_trading_hours_only_when_told",
    ),
    Mutation(
        "rejected credentials are tried with the image before",
        "operations/promotion/outcome.py",
        "frozenset({Reason.LOGIN_FAILED, Reason.LOCKED_OUT, Reason.GUARD_HELD})",
        "frozenset({Reason.GUARD_HELD})",
        "tests/unit/test_promotion_outcome.py::test_the_outcome_follows_from_the_reasons",
    ),
    Mutation(
        "a second factor that nobody approved is asked for again",
        "operations/promotion/deployer.py",
        "        live.stop(pending)\n",
        "",
        "tests/unit/test_promotion_deployer.py::test_a_second_factor_stops_the_gateway_and_waits",
    ),
    Mutation(
        "a release that fails is deployed again and again",
        "operations/promotion/journal.py",
        "return self.previous not in (None, self.target)",
        "return self.previous is not None and self.phase is Phase.DEPLOYING",
        "tests/unit/test_promotion_deployer.py::test_a_release_that_is_the_one_before_has_no_way_back",
    ),
    Mutation(
        "a prepared release is deployed by another program",
        "operations/promotion/command.py",
        "    check_same_program(folder, release.commit)\n",
        "",
        "tests/unit/test_promotion_command.py::test_a_prepared_one_is_deployed_by_the_program_that_paper_ran",
    ),
    Mutation(
        "a rollback goes forward",
        "operations/releases.py",
        "(name for name in deployments(history) if name < current)",
        "(name for name in deployments(history) if name != current)",
        "tests/unit/test_promotion_command.py::test_back_never_goes_forward",
    ),
    Mutation(
        "the journal is written after the deed",
        "operations/promotion/deployer.py",
        "    journal.write(entry)\n    live.name_release(entry.target)\n",
        "    live.name_release(entry.target)\n    journal.write(entry)\n",
        "tests/unit/test_promotion_deployer.py::test_killed_at_any_side_effect_it_goes_on",
    ),
    Mutation(
        "a killed update's lock stays when a promotion goes on",
        "operations/promotion/deployer.py",
        "    live.repair()\n",
        "",
        "tests/unit/test_promotion_deployer.py::test_killed_at_any_side_effect_it_goes_on",
    ),
    Mutation(
        "a repair of a lost state ends sessions unasked",
        "operations/repair/command.py",
        "        if plan.lost:\n",
        "        if plan.lost and not yes:\n",
        "tests/unit/test_operations_repair_command.py::test_where_the_state_is_lost_yes_ends_no_session",
    ),
    Mutation(
        "a lost settings volume grants fresh attempts",
        "infra/lost_volumes.py",
        "if (volume, versions[name]) in tried}",
        "if (volume, versions[name]) in ()}",
        "tests/stack/test_lost_volumes.py::test_what_the_state_says_was_deployed_is_held_where_its_volume_is_gone",
    ),
    Mutation(
        "a volume that a killed update has made grants fresh attempts",
        "infra/lost_volumes.py",
        "frozenset(lost - missing))",
        "frozenset())",
        "tests/stack/test_lost_volumes.py::test_a_volume_without_a_container_is_looked_into",
    ),
    Mutation(
        "missing filter rules are not named where packets pass",
        "healthcheck/isolation.py",
        "Reason.UNFILTERED if views.reason is Reason.EXPOSED else None",
        "None",
        "tests/unit/test_healthcheck_isolation.py::test_records_and_packets_become_one_finding",
    ),
    Mutation(
        "a settings volume that was filled from a copy grants the attempts of its day",
        SUPERVISOR,
        '[[ -n $known && -n $now && $known != "$now" ]]',
        "false",
        "tests/unit/test_supervisor.py::test_a_volume_filled_from_an_old_copy_grants_no_attempts",
    ),
    Mutation(
        "a gateway of another image is taken into a state",
        "operations/repair/adoption.py",
        "            self._fault(owner, fault)\n",
        "            pass\n",
        "tests/unit/test_operations_repair_adoption.py::test_what_would_replace_a_container_keeps_it_out",
    ),
    Mutation(
        "what the engine would replace stays in the state",
        "operations/repair/adoption.py",
        "        if not touched:\n",
        "        if touched or not touched:\n",
        "tests/unit/test_operations_repair_adoption.py::test_what_the_engine_would_replace_all_the_same_is_left_out_again",
    ),
    # Plans without values.
    Mutation(
        "any version counts as the current one",
        "infra/credentials.py",
        'version_id is None and _CURRENT in version["versionStages"]',
        "version_id is None",
        "tests/stack/test_unread_values.py::test_the_version_and_all_but_the_values_are_declared_as_with_them",
    ),
    Mutation(
        "an update goes on without values",
        "infra/credentials.py",
        "if not pulumi.runtime.is_dry_run():",
        "if pulumi.runtime.is_dry_run() is None:",
        "tests/stack/test_unread_values.py::test_an_update_without_the_values_declares_nothing",
    ),
    # Drift.
    Mutation(
        "the order of a list counts as drift",
        "operations/drift/comparing.py",
        "        return sorted(kept_parts, key=lambda part: json.dumps(part, sort_keys=True)) or None",
        "        return list(kept_parts) or None",
        f"{DRIFT}::test_no_order_of_dockers_or_the_providers_is_a_drift",
    ),
    Mutation(
        "an input is forgotten by drift",
        "deployment/tables.py",
        '    _host("log_options", "logOpts", "LogConfig.Config", _log_options,',
        '    Property("log_options", "logOpts", None, _log_options,',
        f"{DRIFT}::test_each_compared_input_has_such_a_row",
    ),
    Mutation(
        "a property of the description is forgotten",
        "deployment/tables.py",
        '    _config("user", "user", "User", lambda part: part.user),\n',
        "",
        "tests/unit/test_tables.py::test_each_thing_of_a_part_is_declared_and_read_back",
    ),
    Mutation(
        "a refresh hides drift",
        "operations/drift/comparing.py",
        "    return {**read, **value} if isinstance(value, Mapping) and isinstance(read, Mapping) else value",
        "    return value if read is None else read",
        f"{DRIFT}::test_a_refresh_does_not_hide_what_it_recorded",
    ),
    # What only the engine and its plug-ins show.
    Mutation(
        "a preview without values compares placeholders",
        "infra/components/parts.py",
        "ignore_changes=None if values_were_read else hidden,",
        "ignore_changes=None,",
        DECLARED,
    ),
    Mutation(
        "the settings go with the stack",
        "infra/components/parts.py",
        "retain_on_delete=kept or None",
        "retain_on_delete=None",
        DECLARED,
    ),
    Mutation(
        "an edited probe is recorded and not applied",
        "infra/components/parts.py",
        "replace_on_changes=sorted(not_applied),",
        "replace_on_changes=[],",
        DECLARED,
    ),
    Mutation(
        "a network's successor is made while it exists",
        "infra/components/parts.py",
        "own = pulumi.ResourceOptions(delete_before_replace=True)",
        "own = pulumi.ResourceOptions(delete_before_replace=False)",
        DECLARED,
    ),
    Mutation(
        "a container's successor is made while it exists",
        "infra/components/parts.py",
        "        delete_before_replace=True,\n",
        "        delete_before_replace=False,\n",
        DECLARED,
    ),
    Mutation(
        "a change in place that got lost is not seen",
        "healthcheck/hygiene.py",
        "(actual := getattr(facts.record, field)) != expected:",
        "(actual := getattr(facts.record, field)) is None:",
        "tests/unit/test_healthcheck_hygiene.py::test_what_an_update_applies_in_place_is_compared_with_what_runs",
    ),
    Mutation(
        "another repository's digest is recorded",
        "infra/outputs.py",
        "if not digest or _plain(known_as) != _plain(_without_tag(repository)):",
        "if not digest:",
        f"{PROGRAM}::test_another_repositorys_digest_is_refused_and_touches_no_gateway",
    ),
    Mutation(
        "a refusal is followed by a second error",
        "infra/__main__.py",
        "    atexit.register(failure.leave)\n",
        "",
        "tests/engine/test_bad_input.py::test_the_same_secret_twice",
    ),
    Mutation(
        "the probe's interval is not in Go's own form",
        "deployment/tables.py",
        "lambda probe: format_duration(probe.interval),",
        'lambda probe: f"{probe.interval.total_seconds():.0f}s",',
        DECLARED,
    ),
    Mutation(
        "an added capability lacks its prefix",
        "deployment/tables.py",
        'f"CAP_{name}"',
        "name",
        DECLARED,
    ),
    Mutation(
        "an attempt that fails hides why a connection was lost",
        "client/pool.py",
        "            lease.failure = str(error)",
        "            lease.trouble = lease.failure = str(error)",
        f"{POOL}::test_after_a_restart_of_the_gateway_all_are_back_under_their_ids",
    ),
    Mutation(
        "an attempt that timed out is laid at the gateway's door",
        "client/pool.py",
        "            if connecting.done():\n",
        "            if connecting.done() and not ended.done():\n",
        f"{POOL}::test_a_wedged_gateway_is_found_out_while_nobody_borrows",
    ),
    Mutation(
        "a cancellation is lost that arrives together with an answer",
        "healthcheck/api_client.py",
        """                async with asyncio.timeout(deadline - time.monotonic()):
                    await self._changed.wait()
""",
        """                await asyncio.wait_for(self._changed.wait(), deadline - time.monotonic())
""",
        "tests/unit/test_healthcheck_session.py::test_a_cancellation_that_arrives_together_with_an_answer_is_not_lost",
    ),
    Mutation(
        "live builds its verifier on what may move",
        "infra/settings.py",
        'if self.mode is Mode.LIVE and "@" not in base:',
        'if self.mode is Mode.LIVE and "@" not in base and ":" not in base:',
        f"{SETTINGS}::test_bad_configuration_is_refused_by_name",
    ),
    Mutation(
        "an edited stack file is passed over by the sandbox",
        "sandbox/environment.py",
        "    if ! cmp -s",
        "    if false && ! cmp -s",
        "tests/unit/test_sandbox_cli.py::test_the_next_command_of_the_engine_takes_over_what_was_edited",
    ),
    Mutation(
        "a sandbox-env that fails leaves the shell where it was, and its eval succeeds",
        "Makefile",
        "{ echo false; exit 1; }",
        "exit 1",
        "tests/unit/test_sandbox_cli.py::test_an_eval_of_a_sandbox_env_that_fails_fails",
    ),
    Mutation(
        "uv is installed without its hashes",
        "Makefile",
        "--require-hashes --requirement",
        "--requirement",
        f"{WORKFLOWS}::test_uv_is_installed_by_version_and_hash_and_the_one_on_path_is_not_asked",
    ),
    Mutation(
        "an attempt is counted only once its outcome is known",
        SUPERVISOR,
        "\tsave_attempts || return 1\n\tOPEN=yes",
        "\tOPEN=yes",
        f"{SUPERVISED}::test_an_attempt_counts_before_its_form_appears",
    ),
    Mutation(
        "what the supervisor writes is for all to read",
        SUPERVISOR,
        "\tumask 077\n",
        "",
        f"{SUPERVISED}::test_nothing_that_it_writes_is_for_others_to_read",
    ),
    Mutation(
        "the verifier's image takes packages without their hashes",
        "healthcheck/Dockerfile",
        " --require-hashes",
        "",
        "tests/unit/test_healthcheck_image.py::test_the_image_installs_nothing_but_what_the_hashes_allow",
    ),
    Mutation(
        "others may list the backups",
        "operations/settings_reset.py",
        ", mode=0o700)",
        ")",
        "tests/unit/test_operations_settings_reset.py::test_a_reset_backs_up_empties_and_starts",
    ),
    Mutation(
        "the policies only advise",
        "infra/policy/__main__.py",
        "EnforcementLevel.MANDATORY",
        "EnforcementLevel.ADVISORY",
        "tests/unit/test_policy_inputs.py::test_the_engine_is_stopped_by_every_rule",
    ),
    Mutation(
        "a combination counts as a plain what-if order",
        "healthcheck/write_filter.py",
        ' or fields[SEC_TYPE] == b"BAG"',
        "",
        f"{WRITE_FILTER}::test_a_combination_is_refused_whatever_its_flag",
    ),
    Mutation(
        "anything may stand in the greeting",
        "healthcheck/write_filter.py",
        'if not greeting.startswith(b"v") or b"\\0" in greeting:',
        "if False:",
        f"{WRITE_FILTER}::test_what_cannot_be_read_is_refused",
    ),
    Mutation(
        "CI debugs the engine of a real stack",
        "Makefile",
        "drift: no-debugging",
        "drift: environment",
        "tests/unit/test_engine_debugging.py::test_what_ci_asks_of_a_real_stack_refuses_them_first",
    ),
    Mutation(
        "the engine's messages are no switch for debugging",
        "operations/engine_debugging.py",
        "|DEBUG_GRPC|",
        "|",
        "tests/unit/test_engine_debugging.py::test_each_switch_is_refused_by_name_and_without_its_value",
    ),
    Mutation(
        "a release may be deployed with other packages than paper ran",
        "operations/promotion/checkout.py",
        ', "uv.lock")',
        ")",
        "tests/unit/test_promotion_checkout.py::test_what_is_changed_between_two_commits_is_the_program_s_alone",
    ),
    Mutation(
        "a reset is another reason than a close",
        "client/limiter.py",
        "super().connection_lost(None if closed else exc)",
        "super().connection_lost(exc)",
        f"{POOL}::test_a_close_is_a_close_however_it_arrives",
    ),
    Mutation(
        "a picture of an unknown dialog is kept by itself",
        "healthcheck/screen_run.py",
        "    if picture is not None and seen.pictured:\n",
        "    if picture is not None:\n",
        f"{SCREEN}::test_a_failure_s_picture_is_kept_only_of_a_window_that_is_known[Annual Agreement-False]",
    ),
    Mutation(
        "continuous integration keeps pictures of a gateway",
        "healthcheck/gateway_run.py",
        'None if os.environ.get("CI") else file',
        "file",
        f"{RUNNER}::test_no_picture_is_kept_in_ci",
    ),
    Mutation(
        "what the login form may be is seen in a picture",
        "healthcheck/screen/look.py",
        "picture.pixels[part] if seen else bytes(part.stop - part.start)",
        "picture.pixels[part]",
        f"{SCREEN}::test_only_a_dialog_is_seen",
    ),
    Mutation(
        "a picture is taken while windows move",
        "healthcheck/screen/look.py",
        "        if before == standing:\n",
        "        if True:\n",
        f"{SCREEN}::test_a_picture_is_taken_anew_where_windows_moved_meanwhile",
    ),
    Mutation(
        "another user's viewer is let in",
        "operations/screen_viewer.py",
        "if owner(viewer) == os.getuid():",
        "if True:",
        f"{VIEWER}::test_another_user_s_connection_is_refused",
    ),
    Mutation(
        "whoever only looks can click",
        "operations/screen_viewer.py",
        "keeper if control else [*keeper, VIEW_ONLY]",
        "keeper",
        f"{VIEWER}::test_a_viewer_sees_everything_and_can_do_nothing",
    ),
    Mutation(
        "x11vnc outlives a command that was cut off",
        "operations/screen_viewer.py",
        'read -rt "$lease" word',
        "read -r word",
        f"{VIEWER}::test_x11vnc_never_outlives_the_command[cut off]",
    ),
    Mutation(
        "a screen is opened without a record",
        "operations/screen_control.py",
        "        record(file, line)\n",
        "",
        f"{VIEWER}::test_what_cannot_be_recorded_is_not_opened",
    ),
)


def _run(tree: Path, *nodes: str) -> subprocess.CompletedProcess[str]:
    # The tree comes before the one that is installed for editing, in pytest and in what it starts.
    environment = {**os.environ, "PYTHONPATH": str(tree), SANDBOX_VARIABLE: SANDBOX}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *nodes]
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)


def _killed(tree: Path, mutation: Mutation) -> str | None:
    """None when the named test fails under the mutation, else what is wrong."""
    path = tree / mutation.path
    original = path.read_text(encoding="utf-8")
    if original.count(mutation.old) != 1:
        return f"{mutation.path} holds the text {original.count(mutation.old)} times, expected once; correct the table"
    path.write_text(original.replace(mutation.old, mutation.new), encoding="utf-8")
    try:
        result = _run(tree, mutation.killer)
    finally:
        path.write_text(original, encoding="utf-8")
    # 1: a test failed. Anything else (no such test, a syntax error) is no proof.
    return None if result.returncode == 1 else f"{mutation.killer} did not fail (pytest exit {result.returncode})"


def _baseline(tree: Path, mutations: Sequence[Mutation]) -> str | None:
    """None when all their tests pass on the tree as it is."""
    result = _run(tree, *sorted({mutation.killer for mutation in mutations}))
    return None if result.returncode == 0 else f"{result.stdout[-4000:]}{result.stderr[-1000:]}"


def _lane(tree: Path, mutations: Sequence[Mutation]) -> int:
    """Runs them one after another on a copy of the tree, before and after them none at all. Returns how many failed: a
    test that fails after them too was broken by what an earlier one left, not by the program."""
    ignored = shutil.ignore_patterns(".git", ".venv", ".sandbox", ".ibgw", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, tree, ignore=ignored)
    (tree / ".venv").symlink_to(ROOT / ".venv")
    without = _baseline(tree, mutations)
    failed = _say("no mutation", without)
    if without is not None:
        return failed  # a test that fails anyway proves nothing
    for mutation in mutations:
        if INTERRUPTED.is_set():
            return failed
        failed += _say(mutation.name, _killed(tree, mutation))
    return failed + _say("no mutation, afterwards", _baseline(tree, mutations))


def _say(name: str, complaint: str | None) -> int:
    """Prints what came of one; returns 1 if it failed."""
    typer.echo(f"ok       {name}" if complaint is None else f"FAILED   {name}: {complaint}")
    return int(complaint is not None)


def main() -> None:
    """Run every mutation, those that need an engine beside the others. Exit code 1 when one survives."""
    lanes = {
        name: [mutation for mutation in MUTATIONS if mutation.engine is engine]
        for name, engine in (("plain", False), ("engine", True))
    }
    typer.echo(f"{len(MUTATIONS)} mutations")
    with locked(COPIES.with_suffix(".lock")), ThreadPoolExecutor() as pool:
        clear()
        running = [pool.submit(_lane, COPIES / name, mutations) for name, mutations in lanes.items()]
        try:
            failed = sum(lane.result() for lane in running)
        finally:
            INTERRUPTED.set()
            wait(running)
            clear()
    typer.echo(f"{len(MUTATIONS)} mutations, {failed} failed")
    if failed:
        raise typer.Exit(1)


def clear() -> None:
    """Removes the copies and the engine tests' sandbox, which outlives each run of theirs."""
    sweep(COPIES / "engine" / SANDBOXES.relative_to(ROOT), lambda line: None)
    shutil.rmtree(COPIES, ignore_errors=True)


if __name__ == "__main__":
    typer.run(main)
