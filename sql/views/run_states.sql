-- What each run is now: its outcome (null while it is not terminal), the time it belongs to, and
-- the flaw that keeps it from being counted. The project is the workflow's own, so that a run
-- which names somebody else's workflow can never reach that workflow's counters.
create or replace view meshmetrics.run_states
with (security_invoker = true)
as
select
  r.id as run_id,
  r.workflow_id,
  d.project_id,
  o.outcome,
  coalesce(r.finished_at, r.updated_at) as finished_at,
  r.updated_at,
  case
    when o.outcome is null then null
    when r.project_id is distinct from d.project_id
      then 'the run is of another project than its workflow'
    when coalesce(r.finished_at, r.updated_at) is null then 'the run has no finished_at'
    when coalesce(r.finished_at, r.updated_at) not between '0001-01-02 00:00:00+00' and '9999-12-30 00:00:00+00'
      then 'finished_at lies outside the years 1 to 9999'
  end as flaw
from public.workflow_runs r
join public.workflow_definitions d on d.id = r.workflow_id
left join meshmetrics.status_outcomes o on o.status = r.status;
