"""Each behaviour of the official plug-ins that matters here, with the test that holds the stand-ins to it.

They were measured with pulumi-docker 5.1.0 (on terraform-provider-docker 4.5.0) and Docker 20.10, or read in the
plug-ins' sources.

The engine tests see both ends: what the program and the engine are told, and what Docker has.
"""

import importlib

import pytest

# Behaviour, then where it is tested: a module of tests/engine/plugins or tests/unit, and a function in it.
FACTS: list[tuple[str, str]] = [
    # Settled stacks
    ("a stack with limits, mounts, tmpfs, uploads, labels, log options, probe and two networks previews empty",
     "engine.plugins.test_docker_settled.test_settled_stack"),
    ("the same with --refresh, again and again, with added capabilities written CAP_CHOWN",
     "engine.plugins.test_docker_settled.test_settled_stack"),
    ("a preview changes nothing in Docker",
     "engine.plugins.test_docker_settled.test_settled_stack"),
    ("secret upload content is encrypted in the state and absent from docker inspect",
     "engine.plugins.test_docker_settled.test_settled_stack"),
    ("uploads belong to root, with their permissions (0644 by default)",
     "engine.plugins.test_docker_settled.test_settled_stack"),
    ("attach, logs and no must_run: runs to its end inside up, gives exit_code and container_logs, does not fail",
     "engine.plugins.test_docker_settled.test_settled_stack"),
    ("network_mode none; networks_advanced with aliases replaces the default bridge",
     "engine.plugins.test_docker_settled.test_settled_stack"),
    ("a volume with a fixed name and retain_on_delete survives destroy and is adopted again, contents and all",
     "engine.plugins.test_docker_settled.test_settled_stack"),
    ("destroy_grace_seconds is the time that a container gets to stop",
     "engine.plugins.test_docker_settled.test_settled_stack"),
    ("without destroy_grace_seconds a container is killed at once, whatever its stop_timeout",
     "unit.test_plugin_container.test_the_recorded_grace_is_what_a_container_gets_to_stop"),
    # Edits
    ("memory without memory_swap is a diff for ever",
     "engine.plugins.test_docker_edits.test_edits"),
    ("an edit of healthcheck, tmpfs, init, cpu_quota is an update that does nothing to the running container",
     "engine.plugins.test_docker_edits.test_edits"),
    ("listed in replace_on_changes it replaces; with delete_before_replace the old container is gone first",
     "engine.plugins.test_docker_edits.test_edits"),
    ("a replacement that only the engine wants creates first, unless the program says delete_before_replace",
     "engine.plugins.test_docker_edits.test_a_forced_replacement_creates_first"),
    ("an own replacement deletes first what the program named",
     "unit.test_plugin_provider.test_what_is_deleted_first"),
    ("defaults are recorded among the inputs with the list of them, what is absent as null among the outputs",
     "stack.test_official_state.test_inputs_are_recorded_as_the_official_plug_in_does"),
    ("a state that the official plug-in made is unchanged",
     "stack.test_official_state.test_what_the_official_plug_in_recorded_is_unchanged"),
    ("the digest of a build's context is the same",
     "unit.test_plugin_context.test_the_digest_is_the_official_one"),
    ("a change inside a mount is recorded only, another number of mounts replaces",
     "engine.plugins.test_docker_edits.test_edits"),
    ("a changed upload replaces, the old container gone first, and shows as [secret] => [secret]",
     "engine.plugins.test_docker_edits.test_edits"),
    ("restart, max_retry_count, memory, memory_reservation, memory_swap, cpu_shares are applied in place",
     "engine.plugins.test_docker_edits.test_edits"),
    ("a duration that is not in Go's own form differs after reading",
     "engine.plugins.test_docker_edits.test_edits"),
    ("a capability without CAP_ is read back with it and replaces the container",
     "engine.plugins.test_docker_edits.test_edits"),
    ("labels and environment replace a container; every input replaces a network",
     "engine.plugins.test_docker_edits.test_edits"),
    ("a name that is not given is made of the resource's name and seven digits, and kept",
     "engine.plugins.test_docker_edits.test_edits"),
    ("what replaces, what is applied and what is only recorded, for every property",
     "unit.test_plugin_properties.test_what_replaces_a_container"),
    ("every property of the classes in use is implemented or refused by name",
     "unit.test_plugin_properties.test_every_argument_is_implemented_or_refused"),
    ("what is refused is refused in the preview, by name",
     "engine.plugins.test_docker_failures.test_refused_by_name"),
    ("a container whose image is given by name is replaced for ever",
     "engine.plugins.test_docker_edits.test_edits"),
    # By hand
    ("a container removed by hand: a plain up says unchanged, up --refresh creates it",
     "engine.plugins.test_docker_by_hand.test_changes_by_hand"),
    ("a container stopped by hand: a plain run sees nothing, --refresh plans an update that starts it",
     "engine.plugins.test_docker_by_hand.test_changes_by_hand"),
    ("labels, environment, uploads and attachments are not read back: joining a network by hand is not seen",
     "engine.plugins.test_docker_by_hand.test_changes_by_hand"),
    ("network_datas, and other outputs that a refresh may change, lead to no step",
     "engine.plugins.test_docker_by_hand.test_changes_by_hand"),
    # Failures
    ("a change in place that Docker refuses is recorded all the same, and the next update has nothing to do",
     "engine.test_in_place.test_a_lost_change_of_memory_is_seen_and_its_remedy_needs_no_login"),
    ("a network whose name exists fails with 'already exists', a volume is adopted silently",
     "engine.plugins.test_docker_failures.test_failing_creations"),
    ("wait: never healthy fails after wait_timeout, stays running and recorded, and the next up replaces it",
     "engine.plugins.test_docker_failures.test_failing_creations"),
    ("a container that cannot be started is recorded with its failure and replaced by the next up",
     "engine.plugins.test_docker_failures.test_failing_creations"),
    ("a container that must run and ends at once is recorded as one that need not run, and started by the next update",
     "unit.test_plugin_container.test_a_container_that_ends_at_once_is_recorded_as_one_that_need_not_run"),
    ("a failure is told as a list with one error",
     "unit.test_plugin_provider.test_a_failure_is_told_in_the_bridges_words"),
    ("a network with endpoints and a volume in use are removed when free, within 30 s",
     "engine.plugins.test_docker_failures.test_objects_in_use"),
    ("a daemon that does not answer is named",
     "engine.plugins.test_docker_failures.test_unreachable_daemon"),
    ("uploads into a read-only root file system fail",
     "engine.plugins.test_docker_failures.test_failing_creations"),
    ("reading a network takes any error for 'gone'",
     "unit.test_plugin_docker_reads.test_a_network_that_cannot_be_read_is_gone"),
    # Images
    ("RemoteImage by digest from a loopback registry: repo_digest is that reference, and a container may run by it",
     "engine.plugins.test_docker_images.test_pulled_by_digest"),
    ("of an image in two repositories of one host:port, repo_digest can be the other one's",
     "engine.plugins.test_docker_images.test_pulled_by_digest"),
    ("keep_locally keeps the image on destroy",
     "engine.plugins.test_docker_images.test_pulled_by_digest"),
    ("Image with skip_push gives the image id as repo_digest, and sees a changed context by itself",
     "engine.plugins.test_docker_images.test_built_from_a_folder"),
    ("relative build contexts start at the program's folder; nothing is built in a preview",
     "engine.plugins.test_docker_images.test_built_from_a_folder"),
    # Processes
    ("a policy pack runs through the language host and is enforced",
     "engine.plugins.test_processes.test_policy_pack"),
    ("the language host runs the Python that the runtime options name, and needs uv on PATH",
     "engine.plugins.test_processes.test_runtime_options_that_would_run_another_python_are_refused"),
    ("a program that raises a RunError is followed by a second error, one that leaves with 32 is not",
     "engine.plugins.test_processes.test_how_a_program_ends_is_told"),
    ("a plug-in exits when its engine is gone or interrupted",
     "engine.plugins.test_processes.test_nothing_outlives_the_engine"),
    ("getSecretVersion with the official SDK, fifty at once, through AWS_ENDPOINT_URL, errors in the official words",
     "engine.plugins.test_processes.test_secrets_from_aws"),
]  # fmt: skip


@pytest.mark.parametrize("place", sorted({place for _, place in FACTS}))
def test_each_fact_has_its_test(place: str) -> None:
    module, _, function = place.rpartition(".")
    assert callable(getattr(importlib.import_module(f"tests.{module}"), function))
