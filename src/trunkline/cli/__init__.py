"""The command line: thin. Every command is a module, loaded only when it is used, that makes a few calls.

A module `trunkline.cli.<word>` has `configure(parser)` and `run(args) -> int`.
"""
