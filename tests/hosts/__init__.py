"""Hosts whose user model is not Django's; each is a settings module of its own, run in a process of its own."""
