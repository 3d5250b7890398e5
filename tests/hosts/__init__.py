"""Hosts with models of their own; each is a settings module of its own, run in a process of its own."""
