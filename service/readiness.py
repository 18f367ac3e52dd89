"""Whether new work is welcome."""

from collections.abc import Mapping

from ledger.ledger import Ledger
from router.deployments import Provider
from router.providers.local import LocalModel
from service.config.catalog import CurrentCatalog
from service.parts import Readiness


class Draining:
    """Whether the process is on its way out. Set once."""

    def __init__(self) -> None:
        self.is_on = False


def readiness(
    ledger: Ledger, draining: Draining, catalog: CurrentCatalog, local_models: Mapping[str, LocalModel]
) -> Readiness:
    """It is, if the ledger takes writes, and some route has a deployment that can answer."""
    if draining.is_on:
        return Readiness(ready=False, draining=True, reason="the service is shutting down")
    if not ledger.is_ready:
        return Readiness(ready=False, reason="the ledger takes no writes")
    for route in catalog.routes:
        if all(_is_waiting(target.provider, local_models) for target in route.targets):
            return Readiness(ready=False, reason=f"route {route.name} waits for the local model to start")
    return Readiness(ready=True)


def _is_waiting(provider: Provider, local_models: Mapping[str, LocalModel]) -> bool:
    model = local_models.get(provider.name)
    return model is not None and not model.is_ready
