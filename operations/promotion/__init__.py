"""Taking what runs verified on paper to live, and back.

checkout.py   what git says of the project folder; the program of a release's commit
paper.py      paper's side: verified now and for a soak, and the release that follows from it
expected.py   what of a live plan follows from a promotion
outcome.py    what a deployment came to, from its report
journal.py    the phases, kept in a file, so that a killed promotion can go on
live.py       everything that a promotion does to the live stack
deployer.py   deploys a release to live: forward, back, or waiting
command.py    `ibgw promote` and `ibgw rollback`
"""
