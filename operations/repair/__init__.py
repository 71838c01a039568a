"""Putting a stack right after an interrupted run.

An update that is killed leaves a lock, pending operations, objects on the Docker host that nobody recorded, and
perhaps plug-ins without an engine; a state that is lost leaves gateways that run. `state`, `lock`, `processes` and
`inventory` read what there is, `plan` compares (pure), `execute` acts, `adoption` takes in what runs, `command` leads
through it all. Nothing is changed before the operator has seen the plan.
"""
