-- Maps a status of the engine's to an outcome: success, failure, canceled, or open. What is counted of its runs
-- changes when they are counted again.
create or replace function meshmetrics.map_status(mapped_status text, mapped_outcome text)
returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  insert into meshmetrics.status_outcomes as o (status, outcome)
  values (mapped_status, nullif(mapped_outcome, 'open')::meshmetrics.outcome)
  on conflict (status) do update set outcome = excluded.outcome;
$$;
