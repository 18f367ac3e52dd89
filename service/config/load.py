"""Finds the config, reads it, and checks it whole before anything is started."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from service.config.check_rules import problems_of
from service.config.decode import Decoding
from service.config.environment import config_from_environment, zero_config
from service.config.model import Config
from service.config.problems import ConfigInvalid, Problem

DEFAULT_FILE: Final = "farthing.toml"


def load_config(path: str | None, environ: Mapping[str, str], *, overrides: Mapping[str, Any] | None = None) -> Config:
    """`path`, else $FARTHING_CONFIG, else ./farthing.toml if it is there, else the environment, else zero-config.

    overrides: {key of [server]: value} from the command line. Raises ConfigInvalid with every problem at once.
    """
    chosen = path or environ.get("FARTHING_CONFIG")
    if chosen is None and Path(DEFAULT_FILE).is_file():
        chosen = DEFAULT_FILE
    config = config_from_environment(environ) if chosen is None else _from_file(Path(chosen), environ)
    if overrides:
        config = msgspec.structs.replace(config, server=msgspec.structs.replace(config.server, **overrides))
    problems = tuple(problems_of(config))
    if problems:
        raise ConfigInvalid(*problems)
    return config


def _from_file(path: Path, environ: Mapping[str, str]) -> Config:
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigInvalid(Problem(str(path), f"cannot be read: {error.strerror}")) from error
    except UnicodeDecodeError as error:
        raise ConfigInvalid(Problem(str(path), "is not UTF-8")) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigInvalid(Problem(str(path), f"is not TOML: {error}")) from error
    config = Decoding(environ).config(document)
    if config.providers or config.routes:
        return config
    # A file that only sets a port, say, still has the local model behind it.
    default = zero_config(environ)
    return msgspec.structs.replace(config, providers=default.providers, routes=default.routes)
