"""What is otherwise on the Docker host than the last update left it, whoever changed it. Only looks.

reading.py    what the state records, and what the engine and Docker say now
comparing.py  what differs between the two
rendering.py  the same for people and for programs
"""
