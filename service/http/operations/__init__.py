"""Every operation of the service as its documentation shows it. A test asks for each one, so a drift is a failure."""

from typing import Final

from service.http.operations.administration import ADMINISTRATION
from service.http.operations.calls import CALLS
from service.http.operations.operation import Operation as Operation
from service.http.operations.reports import REPORTS
from service.http.operations.state import STATE

OPERATIONS: Final = (*CALLS, *REPORTS, *ADMINISTRATION, *STATE)
