"""The demo: a tenant small enough to watch, real in every room.

Data here: `projects/` are the repositories of the tenant as they are first pushed; `vendor/` two published packages with
their own test suites. The code that pushes, approves, breaks and watches is beside them.
"""
