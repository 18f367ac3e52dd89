"""Packages that are imported at their first use: Anthropic's takes seconds, which every test process would pay."""

import sys
from importlib.util import LazyLoader, find_spec, module_from_spec


def _lazily(name):
    if name in sys.modules:
        return sys.modules[name]
    spec = find_spec(name)
    spec.loader = loader = LazyLoader(spec.loader)
    sys.modules[name] = module = module_from_spec(spec)
    loader.exec_module(module)
    return module


anthropic = _lazily("anthropic")
