"""`pulumi-resource-aws` as the engine starts it: `python -m sandbox.plugins.aws ENGINE`."""

from sandbox.plugins.messages import use_messages_only


def main() -> None:
    use_messages_only()
    from sandbox.plugins.aws.provider import Aws
    from sandbox.plugins.provider import run

    run(Aws())


if __name__ == "__main__":
    main()
