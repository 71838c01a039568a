import typer

from operations.commands.shared import Json, LiveStackName, answer, print_answer, waiting

EXAMPLES = ("ibgw releases", "ibgw releases --json")


def releases(
    stack: LiveStackName = "live",
    as_json: Json = False,
) -> None:
    """List the releases, and when live was brought to each.

    What was verified on paper, and by whom. * is what live runs.
    """
    from deployment.paths import RELEASES, project_folder
    from operations.formats import terminal_width
    from operations.promotion.journal import Journal
    from operations.releases import ReleasesAnswer, listed, table
    from operations.stack import Stack

    live, folder = Stack(stack), project_folder()
    with waiting(f"reading the updates of {stack}"):
        current = live.deployment().release if live.deployed() else None
        rows = listed(folder / RELEASES, live.history(), current)
    under_way = Journal.of(folder, stack).read()
    if as_json:
        print_answer(ReleasesAnswer(stack=stack, under_way=under_way, releases=tuple(row.answer for row in rows)))
        return
    typer.echo(table(rows, terminal_width()))
    if under_way is not None:
        answer(f"\n{under_way.describe()}. Next: {under_way.next_command}")
