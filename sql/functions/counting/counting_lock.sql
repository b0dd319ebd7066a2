-- Held to the end of the transaction by everything that writes ledger, buckets or counters. The
-- caller's next statement then sees all that the last holder wrote, which is only so under
-- READ COMMITTED: anything else is refused.
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
  perform pg_advisory_xact_lock(5570217644489864242); -- the bytes of 'MMcount2'
end;
$$;
