-- Clears the list of runs set aside, so that they are counted again although their rows did not change:
-- for use after the cause was fixed elsewhere. Returns how many runs there were.
create or replace function meshmetrics.retry_set_aside()
returns bigint
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  with cleared as (delete from meshmetrics.set_aside_runs returning 1)
  select count(*) from cleared;
$$;
