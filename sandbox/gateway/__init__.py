"""The simulated IB Gateway: what runs inside the sandbox's gateway image in place of the real program.

`files/` holds the outside (entry script, login automation's start script, templates), with the paths, variables, log
lines and exit codes of the real image. The modules are the inside: the login automation (`automation`), the link to the
sandbox's broker (`link`) and the API server (`api`). Standard library and relative imports only: the folder is copied
into the image as a package of its own.
"""
