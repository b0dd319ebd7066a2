-- Where the next quick sweep starts: at the start of the oldest open transaction, less a tenth of a second
-- for transactions that have begun and are not visible yet. No more than `overlap`
-- ago: what takes longer is left to its event and to the regular sweeps.
create or replace function meshmetrics.unsettled_since(overlap interval)
returns timestamptz
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  select greatest(
    clock_timestamp() - overlap, meshmetrics.oldest_transaction(overlap) - interval '0.1 seconds'
  );
$$;
