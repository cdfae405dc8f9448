"""The world that development, tests and the demo run in: emulated clouds and an embedded review server.

Production rooms never import from here; they reach these programs over sockets, as they would reach the real ones.
"""
