"""What admins do: hints by hand, keys, and alerts that they have seen to."""

from typing import Any, Final

from service.auth.issuing import KeyWish
from service.http.hints import HintBody
from service.http.operations.operation import Operation

KEY_WISH: Final[dict[str, Any]] = {
    "name": "batch jobs",
    "team": "research",
    "role": "caller",
    "ceilings": ["50/month", "60 calls/minute"],
    "routes": ["chat"],
    "expires": "90d",
}
KEY: Final[dict[str, Any]] = {
    "id": "06cq2f1q0c8m",
    "name": "batch jobs",
    "team": "research",
    "role": "caller",
    "routes": ["chat"],
    "ceilings": [
        {
            "scope": "key:06cq2f1q0c8m",
            "window": "month",
            "unit": "usd",
            "limit_usd": "50.000000000",
            "limit_nanousd": 50_000_000_000,
        }
    ],
    "state": "in force",
    "created_at": "2026-11-21T14:00:00Z",
    "expires_at": "2027-02-19T14:00:00Z",
    "revoked_at": None,
}

ADMINISTRATION: Final = (
    Operation(
        method="get",
        role="admin",
        path="/router/hints",
        summary="What was learned of deployments from their answers and errors",
        query=("provider",),
    ),
    Operation(
        method="post",
        role="admin",
        path="/router/hints",
        summary="Block or allow a deployment by hand, prefer one of its endpoints, or forget what was learned of it",
        body=HintBody,
        body_example={"deployment": "openai:gpt-4o", "action": "block", "reason": "too dear this month"},
        errors={404: "unknown_model", 503: "ledger_unavailable"},
    ),
    Operation(
        method="delete",
        role="admin",
        path="/router/hints/{id}",
        path_example="/router/hints/openai:gpt-4o",
        summary="Forget what was learned of a deployment, an operator's word too",
        errors={404: "unknown_model", 503: "ledger_unavailable"},
    ),
    Operation(
        method="post",
        role="admin",
        path="/keys",
        summary="Make a key; its secret is shown here, once, and kept nowhere",
        example={**KEY, "secret": "fk_06cq2f1q0c8m_…"},
        body=KeyWish,
        body_example=KEY_WISH,
        varying=("ceilings",),
        errors={400: "invalid_request", 404: "unknown_model", 409: "pepper_differs", 503: "ledger_unavailable"},
    ),
    Operation(
        method="get",
        path="/keys",
        role="admin",
        summary="Every key there ever was",
        example={"keys": [KEY]},
        varying=("ceilings",),
    ),
    Operation(
        method="delete",
        role="admin",
        path="/keys/{id}",
        summary="Revoke a key: once this answers, no process takes it any more",
        errors={404: "not_found", 503: "ledger_unavailable"},
    ),
    Operation(
        method="post",
        role="admin",
        path="/alerts/{id}/acknowledge",
        summary="Say that an alert is seen to; who says so first stays on record",
        errors={404: "not_found", 503: "ledger_unavailable"},
    ),
)
