-- Takes the marks off all runs set aside, so that they are looked at again even though their rows
-- did not change: for after what kept them from being counted was mended elsewhere. Returns how
-- many.
create or replace function meshmetrics.retry_set_aside()
returns bigint
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  with taken_off as (delete from meshmetrics.set_aside_runs returning 1)
  select count(*) from taken_off;
$$;
