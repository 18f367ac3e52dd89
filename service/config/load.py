"""Finds the config, reads it, and checks it whole before anything is started."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from service.config.decode import Decoding
from service.config.environment import config_from_environment, zero_config
from service.config.model import LISTS, TABLES, Config
from service.config.problems import ConfigInvalid, Problem, section_of
from service.config.rules import problems_of

DEFAULT_FILE: Final = "farthing.toml"
_OTHERS: Final = {*TABLES, *LISTS} - {"ledger"}
# What neither prices nor names anything.
_WITHOUT_NAMES: Final = {"alerts", "cache", "server", "telemetry"}
_FOR_REQUESTS: Final = re.compile(r"providers\[\d+\]\.(api_key|proxy|headers|query)\b")


def config_file(path: str | None, environ: Mapping[str, str]) -> str | None:
    """The file that `load_config` reads now. None: there is none, and the environment or zero-config serve.

    Whoever reads the config again asks for this file again: one that is gone by then is an error. To go on without it
    would be to go on without its ceilings.
    """
    return path or environ.get("FARTHING_CONFIG") or (DEFAULT_FILE if Path(DEFAULT_FILE).exists() else None)


def load_config(
    path: str | None,
    environ: Mapping[str, str],
    *,
    overrides: Mapping[str, Any] | None = None,
    is_again: bool = False,
) -> Config:
    """`path`, else $FARTHING_CONFIG, else ./farthing.toml if it is there, else the environment, else zero-config.

    overrides: {key of [server]: value} from the command line. is_again: another one is in force, so that a file that
    says nothing is one that is just being written. Raises ConfigInvalid with every problem at once.
    """
    chosen = _chosen(path, environ)
    if chosen is not None:
        document = _document(chosen)
        if is_again and not document:
            raise ConfigInvalid(Problem(str(chosen), "says nothing: to serve the embedded model alone takes a restart"))
        decoding = Decoding(environ)
        config = _with_someone_to_ask(decoding.config(document), environ)
    else:
        decoding = Decoding({})
        config = config_from_environment(environ)
    if overrides:
        config = msgspec.structs.replace(config, server=msgspec.structs.replace(config.server, **overrides))
    problems = _problems(decoding, config)
    if problems:
        raise ConfigInvalid(*problems, file=chosen)
    return config


def load_ledger(path: str | None, environ: Mapping[str, str]) -> Config:
    """As `load_config`, for whoever needs the ledger and nothing else: all other sections are as without a file.

    What is wrong with them does not matter here: books can be audited where no provider's key is at hand. Raises
    ConfigInvalid for what is wrong with [ledger], or is no section at all: it may be meant for one.
    """
    chosen = _chosen(path, environ)
    if chosen is None:
        return Config()
    decoding = Decoding(environ)
    config = decoding.config(_document(chosen))
    problems = [problem for problem in _problems(decoding, config) if section_of(problem) not in _OTHERS]
    if problems:
        raise ConfigInvalid(*problems, file=chosen)
    return Config(ledger=config.ledger)


def load_books(path: str | None, environ: Mapping[str, str]) -> Config:
    """As `load_config`, for whoever needs the ledger, prices and names of models, and asks no provider.

    What only a request needs (a provider's key, proxy and headers) and the sections that price and name nothing are of
    no use then: what is wrong with them, or not set here, does not matter. Raises ConfigInvalid for all else.
    """
    chosen = _chosen(path, environ)
    if chosen is None:
        return load_config(path, environ)
    decoding = Decoding(environ)
    config = _with_someone_to_ask(decoding.config(_document(chosen)), environ)
    problems = [problem for problem in _problems(decoding, config) if not _is_for_others(problem)]
    if problems:
        raise ConfigInvalid(*problems, file=chosen)
    return Config(**{name: getattr(config, name) for name in Config.__struct_fields__ if name not in _WITHOUT_NAMES})


def _is_for_others(problem: Problem) -> bool:
    return section_of(problem) in _WITHOUT_NAMES or _FOR_REQUESTS.match(problem.place) is not None


def _chosen(path: str | None, environ: Mapping[str, str]) -> Path | None:
    chosen = config_file(path, environ)
    return None if chosen is None else Path(chosen)


def _problems(decoding: Decoding, config: Config) -> list[Problem]:
    return [*decoding.problems, *(problem for problem in problems_of(config) if not decoding.follows(problem))]


def _with_someone_to_ask(config: Config, environ: Mapping[str, str]) -> Config:
    """A file that only sets a port, say, still has the embedded model behind it."""
    if config.providers or config.routes:
        return config
    default = zero_config(environ)
    return msgspec.structs.replace(config, providers=default.providers, routes=default.routes)


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigInvalid(Problem(str(path), f"cannot be read: {error.strerror}")) from error
    except UnicodeDecodeError as error:
        raise ConfigInvalid(Problem(str(path), f"is not UTF-8: byte {error.start}")) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigInvalid(Problem(str(path), f"is not TOML: {error}")) from error
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits, brackets in thousands, a path with a NUL in it.
        raise ConfigInvalid(Problem(str(path), "has something in it that is too long or too deep to read")) from error
