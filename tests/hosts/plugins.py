"""A small stand-in of Open edX's plugin loader, edx_django_utils.plugins."""

import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from django.urls import URLResolver, include, re_path
from django.utils.module_loading import import_string


def get_plugin_apps(project: str) -> list[str]:
    return [f"{app.__module__}.{app.__name__}" for app in plugins(project)]


def add_plugins(settings_path: str, project: str, settings_type: str) -> None:
    for app, config in configured(project, "settings_config"):
        if settings_type in config:
            module = import_module(f"{app.name}.{config[settings_type].get('relative_path', 'settings')}")
            module.plugin_settings(sys.modules[settings_path])


def get_plugin_url_patterns(project: str) -> list[URLResolver]:
    return [
        re_path(
            config.get("regex", ""),
            include((f"{app.name}.{config.get('relative_path', 'urls')}", app.name), config.get("namespace", app.name)),
        )
        for app, config in configured(project, "url_config")
    ]


def connect_plugin_receivers(project: str) -> None:
    for app, config in configured(project, "signals_config"):
        module = import_module(f"{app.name}.{config.get('relative_path', 'signals')}")
        for each in config["receivers"]:
            receiver = getattr(module, each["receiver_func_name"])
            import_string(each["signal_path"]).connect(
                receiver, dispatch_uid=f"{receiver.__module__}.{receiver.__name__}"
            )


def plugins(project: str) -> list[Any]:
    return [point.load() for point in entry_points(group=project)]


def configured(project: str, what: str) -> Iterator[tuple[Any, Any]]:
    for app in plugins(project):
        config = app.plugin_app.get(what, {}).get(project)
        if config is not None:
            yield app, config
