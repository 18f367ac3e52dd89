-- The rules of the tables that every call writes to, in other words of the same meaning: for each IN of three words or
-- more SQLite builds a table, and fills it, at every row. What is in the tables stays as it is, so only the words change
-- (https://www.sqlite.org/lang_altertable.html, "Making Other Kinds Of Table Schema Changes").
PRAGMA writable_schema = 1;

UPDATE sqlite_master
   SET sql = replace(sql, 'cache IN (''hit'', ''miss'', ''coalesced'', ''bypass'')',
                     'cache = ''hit'' OR cache = ''miss'' OR cache = ''coalesced'' OR cache = ''bypass''')
 WHERE type = 'table' AND name = 'generations';

UPDATE sqlite_master
   SET sql = replace(sql, 'state IN (''held'', ''settled'', ''released'', ''lapsed'')',
                     'state = ''held'' OR state = ''settled'' OR state = ''released'' OR state = ''lapsed''')
 WHERE type = 'table' AND name = 'holds';

UPDATE sqlite_master
   SET sql = replace(replace(sql, 'kind IN (''settlement'', ''lapse'', ''correction'')',
                                  'kind = ''settlement'' OR kind = ''lapse'' OR kind = ''correction'''),
                     'cost_basis IN (''provider_reported'', ''priced_usage'', ''estimated'', ''unknown'', ''free'')',
                     'cost_basis = ''priced_usage'' OR cost_basis = ''provider_reported'' OR cost_basis = ''estimated''
               OR cost_basis = ''unknown'' OR cost_basis = ''free''')
 WHERE type = 'table' AND name = 'postings';

UPDATE sqlite_master
   SET sql = replace(sql, 'kind IN (''total'', ''ttft'', ''error'')', 'kind = ''total'' OR kind = ''ttft'' OR kind = ''error''')
 WHERE type = 'table' AND name = 'latency_buckets';

PRAGMA writable_schema = RESET;
