"""The bottom room: every record and protocol that crosses a wall, and nothing that does any work.

Above `wmtp.errors` and below everything else. attrs only: no torch, no pluggy, no file is opened here. A record checks itself
when it is made, so that a wrong value fails at its author's own line.
"""
