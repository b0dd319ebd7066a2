-- From when on a quick sweep that looks again has to look: the start of the oldest transaction
-- under way, a moment earlier for those that have begun and do not show yet. No more than `overlap`
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
