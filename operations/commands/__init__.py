"""The commands of `ibgw`, one a file, each in the function of the file's name; `operations/cli.py` puts them together.

A command reads its words, has the work done elsewhere and prints the answer. What takes long to import (pydantic,
docker, rich, pulumi) it imports when it runs, so that `ibgw --help` stays quick.
"""
