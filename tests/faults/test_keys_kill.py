"""kill -9 while keys are made and revoked: what was acknowledged is there, and nothing is there by half."""

import asyncio
import os

from ledger.ledger import open_ledger
from ledger.verify import verify_ledger
from tests.forked import forked
from tests.ledger.test_apikeys import a_key

ACKNOWLEDGED = 40
LIMITS = [("day", 5), ("month", 50)]


def make_and_revoke(url):
    """Says each thing once the ledger has acknowledged it."""

    async def main():
        async with open_ledger(url) as ledger:
            for number in range(10_000):
                await ledger.create_api_key(a_key(f"k{number}", ceilings=LIMITS))
                print("made", f"k{number}", flush=True)
                if number % 2:
                    await ledger.revoke_api_key(f"k{number}")
                    print("revoked", f"k{number}", flush=True)

    asyncio.run(main())


async def test_a_key_is_made_and_revoked_whole_or_not_at_all(home):
    said = {"made": set(), "revoked": set()}
    async with forked(make_and_revoke, home.url, folder=home.folder, environ=os.environ) as maker:
        for _ in range(ACKNOWLEDGED):
            event, key_id = (await maker.stdout.readline()).decode().split()
            said[event].add(key_id)
        # In the middle of whatever comes next it is killed.
    async with open_ledger(home.url) as ledger:
        keys = {key.key_id: key for key in await ledger.api_keys()}
        assert said["made"] <= keys.keys()
        assert said["revoked"] <= {key_id for key_id, key in keys.items() if key.revoked_at_ms is not None}
        for key_id, key in keys.items():
            whole = a_key(key_id, ceilings=LIMITS).key
            assert (key.routes, key.ceilings) == (whole.routes, whole.ceilings)
        limited = {ceiling["scope"] for ceiling in await ledger.ceilings()}
        assert limited == {key.scope for key in keys.values() if key.revoked_at_ms is None}
    findings = await asyncio.to_thread(verify_ledger, home.url, on_rule=str)
    assert findings.violations == ()
