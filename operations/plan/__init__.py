"""What an update would do to each gateway, in the field's words.

model.py      what a plan is
settings.py   a gateway's settings: which differ, and what each does
reading.py    the engine's JSON preview made into a plan
rendering.py  a plan for people and for programs
"""
