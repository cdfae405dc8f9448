"""The imperative shells: each service is a loop that claims, does one effect, and commits.

What may live here: wiring of pure rooms to the store, the connections, git, Ansible and the clouds; supervision;
settings. What may not: decisions. A shell can be killed at any instruction: everything it knows is in the store, and
every effect can be asked for twice.

Nouns: a *service* (scheduler, merger, launcher, executor, fleet, web) is one process; the *supervisor* starts them and
starts them again; *settings* are what the operator's zuul.conf says.
"""
