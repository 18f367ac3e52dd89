"""The configuration: one TOML file, or a set of environment variables, or nothing at all. CONTRACT §2."""

from service.config.load import config_file, load_books, load_config, load_ledger
from service.config.model import Config
from service.config.problems import ConfigInvalid, Problem

__all__ = ["Config", "ConfigInvalid", "Problem", "config_file", "load_books", "load_config", "load_ledger"]
