-- Held to the end of the transaction by everything that writes ledger, buckets or counters. The
-- caller's next statement then sees all that the last holder wrote, which is only so under
-- READ COMMITTED: anything else is refused.
--
-- The lock of a table that tenants have no privilege on. The mode conflicts with itself, and not with pg_dump.
create or replace function meshmetrics.counting_lock()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'counting needs the isolation level read committed, not %',
      current_setting('transaction_isolation')
      using errcode = 'invalid_transaction_state';
  end if;
  lock table meshmetrics.counting in exclusive mode;
end;
$$;
