-- Up to max_runs runs of a status behind after_id, in the order of their ids.
create or replace function meshmetrics.runs_of_status(of_status text, after_id uuid, max_runs integer)
returns uuid[]
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
  select array(
    select r.id from public.workflow_runs r
    where r.status::text = of_status and r.id > after_id
    order by r.id
    limit max_runs
  );
$$;
