"""`pulumi-resource-docker` as the engine starts it: `python -m sandbox.plugins.docker ENGINE`."""

from sandbox.plugins.messages import use_messages_only


def main() -> None:
    use_messages_only()
    from sandbox.plugins.docker.provider import Docker
    from sandbox.plugins.provider import run

    run(Docker())


if __name__ == "__main__":
    main()
