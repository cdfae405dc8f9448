"""Gerrit, the production driver: events from `stream-events` over SSH, questions and votes over REST.

Without a password everything goes over SSH.
What the server says is turned into the room's values by pure functions (`events`, `changes`, `reconcile`), so that its
oddities are written down in one place each and tested against recordings. `connection` is the shell that ties the two
clients (`rest`, `ssh`) and the listener (`stream`) together.
"""
