"""`pulumi-language-python` as the engine starts it: `python -m sandbox.plugins.language [flags] ENGINE`."""

from sandbox.plugins.messages import use_messages_only


def main() -> None:
    use_messages_only()
    from sandbox.plugins.language.host import run

    run()


if __name__ == "__main__":
    main()
